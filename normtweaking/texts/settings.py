"""What texts to calibrate on: written by the model itself, or cut out of a file."""

from __future__ import annotations

from dataclasses import dataclass

from ctrlg.arguments import AboveZero, Natural, Positive, Seed, TwoOrMore, checked
from normtweaking.defaults import BATCH_SIZE


@checked
@dataclass(frozen=True)
class CalibrationSettings:
    """What to write.

    Attributes:
        samples: texts.
        length: tokens of a text, 2 or more.
        languages: of the first tokens (`normtweaking.texts.languages`), any where empty.
        greedy_tokens: likeliest tokens that follow a first one (LLM-QAT: 3 to 5).
        temperature: of the samples.
        batch_size: texts at once.
        seed: of everything random.

    Raises:
        ArgumentError: values out of range.
    """

    samples: Positive = 128
    length: TwoOrMore = 2048
    languages: tuple[str, ...] = ()
    greedy_tokens: Natural = 4
    temperature: AboveZero = 1.0
    batch_size: Positive = BATCH_SIZE
    seed: Seed = 0

    def __post_init__(self) -> None:
        from normtweaking.texts.languages import check_languages

        check_languages(self.languages)


@checked
@dataclass(frozen=True)
class Texts:
    """What to calibrate on. The model writes the texts itself where neither data nor a text is named.

    Attributes:
        data: file of calibration data, as generate_calibration leaves it.
        text: file to cut samples out of.
        samples: texts.
        length: tokens of a text.
        languages: of first tokens, such as en,zh; any where empty.
        held_out: samples that judge and are not tweaked on; where 0, those that are.
        seed: of the texts.
    """

    data: str = ""
    text: str = ""
    samples: Positive = 128
    length: TwoOrMore = 2048
    languages: tuple[str, ...] = ()
    held_out: Natural = 8
    seed: Seed = 0
