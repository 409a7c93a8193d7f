"""Let a language model write the texts that `tweak_model.py` calibrates on (the norm-tweaking repository's command).

    python examples/generate_data.py --model gpt2 --output data/ --device cpu
    python examples/generate_data.py --model default --samples 32 --length 256
    python examples/generate_data.py --model gpt2 --samples 3 --print

A job that was interrupted goes on where it was, and ends with the same file.
"""

from __future__ import annotations

from ctrlg.arguments import Positive, Seed, TwoOrMore, checked
from ctrlg.terminal.program import Program


@checked
def main(
    model: str,
    output: str = "data",
    samples: Positive = 128,
    length: TwoOrMore | None = None,
    seed: Seed = 0,
    device: str | None = None,
    print_texts: bool = False,
) -> None:
    """Write calibration texts.

    Args:
        model: Hugging Face id, folder, .gguf file, 'default' or 'default-base'.
        output: folder of the file.
        samples: texts.
        length: tokens of a text; where None what the model can read, 2048 at most.
        seed: of everything random.
        device: cpu or cuda; where None cuda if there is one.
        print_texts: print the texts and save nothing.
    """
    from ctrlg.distillation.progress import token_bar
    from ctrlg.terminal.plain_console import PlainConsole
    from normtweaking import DataGenerator

    generator = DataGenerator.from_pretrained(model)
    if device:
        generator.to(device)
    with token_bar(PlainConsole(stderr=True)) as show:
        if not print_texts:
            path = generator.generate_into(output, samples, length, seed, progress=show)
            print(f"saved: {path}")
            return
        data = generator.generate(samples, length, seed, progress=show)
    for tokens in data.tensors:
        for text in generator.tokenizer.batch_decode(tokens):
            print(text)


PROGRAM = Program(main, "generate_data.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
