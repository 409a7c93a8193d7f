"""Language models that keep constraints: constrained generation with compressed hidden Markov models.

    import ctrlg
    model, tokenizer = ctrlg.assets.default_model()
    constraint = ctrlg.Keywords([["dog"], ["park"]], inflect=True) & ctrlg.WordCount(6, 12)
    print(ctrlg.generate(model, tokenizer, ctrlg.load_hmm("default"), constraint)[0].text)

The names of Ctrl-G and Norm-Q (KMPBuilder ... rank_generated_ids) are here too, with their arguments: `ctrlg.compat`.

Names are listed in __init__.pyi and loaded when they are first used, so that importing costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
