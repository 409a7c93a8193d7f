"""Scores under the names that Norm-Q's code imports: `eval_metrics.bleu.Bleu`, `.cider.Cider`, `.spice.Spice`.

Each has `compute_score(gts, res)`: references and sentences by the same keys, as lists of tokenised texts (tokens
separated by spaces), one sentence a key. The numbers are those of Norm-Q and of pycocoevalcap, which computes them.
`ctrlg.evaluation` is the library behind `ctrlg evaluate`, with intervals and a tokenizer.
"""
