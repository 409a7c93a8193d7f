"""One constrained generation: three words in any inflection, ten words in all, by an HMM of your choice.

python scripts/test.py
python scripts/test.py --method norm-q --bits 4
python scripts/test.py --qbit 8 --beams 128 --keywords kid room dance
python scripts/test.py --method mask-only --keywords shot game player --words 8 12
"""

from __future__ import annotations

from ctrlg.arguments import Natural, Positive, checked
from ctrlg.defaults import BEAMS, NORM_Q_BITS, TOKENS
from ctrlg.errors import ArgumentError
from ctrlg.terminal.console import say
from ctrlg.terminal.program import Program


@checked
def main(
    keywords: tuple[str, ...] = ("field", "look", "stand"),
    words: tuple[Natural, Natural] = (10, 10),
    method: str = "float32",
    bits: int = NORM_Q_BITS,
    qbit: int = 0,
    hmm: str = "default",
    model: str = "default",
    beams: Positive = BEAMS,
    soft_mask: bool = False,
    device: str = "cpu",
) -> None:
    """Write sentences for one constraint.

    Args:
        keywords: words the text must contain, in any inflection.
        words: least and most words.
        method: of docs/methods.md, float32 or mask-only.
        bits: of the method.
        qbit: Norm-Q's flag: the method integer, at so many bits.
        hmm: folder or hub id of an HMM, or 'default'.
        model: the language model it comes from.
        beams: of the search.
        soft_mask: the HMM alone steers, as in Ctrl-G.
        device: cpu or cuda.
    """
    import ctrlg
    from ctrlg.devices import fast_dtype
    from ctrlg.evaluation.benchmark import float_hmm
    from ctrlg.evaluation.grid import Grid
    from ctrlg.loading.language_models import load_language_model

    if qbit and method != "float32":
        raise ArgumentError("both --qbit and --method", hint="--qbit is the method integer; name one of them")
    (setting,) = Grid.of("integer", qbit) if qbit else Grid.of(method, bits)
    constraint = ctrlg.Keywords([[word] for word in keywords], inflect=True) & ctrlg.WordCount(*words)
    language_model, tokenizer = load_language_model(model, device, fast_dtype(device))
    results = ctrlg.generate(
        language_model,
        tokenizer,
        setting.guide(float_hmm(hmm)),
        constraint,
        suffix=".",
        min_new_tokens=5,
        max_new_tokens=TOKENS,
        num_beams=beams,
        num_return_sequences=min(20, beams),
        soft_mask=soft_mask,
    )
    for place, result in enumerate(results):
        kept = "" if result.satisfied else "  (the constraint is broken)"
        say(f"{place}. {result.text}  {result.log_prob:.3f}{kept}")


PROGRAM = Program(main, "test.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
