"""A study that distils HMMs: the language model's part in it, and the sequences that are held out."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from torch import Tensor

from ctrlg.adaptation.sentences import end_of_text_id
from ctrlg.distillation.sampling.output_layer import output_layer
from ctrlg.distillation.sampling.storage import read_sequences
from studies.shared import Study


class DistillationStudy(Study):
    """Needs the flags `model`, `dev` and `test`; all is read when the first measurement needs it."""

    @cached_property
    def eos(self) -> int:
        """The end-of-text token."""
        return end_of_text_id(self.models[1])

    @cached_property
    def head(self) -> Any:
        """The language model's output layer."""
        return output_layer(self.models[0])

    @property
    def vocab_size(self) -> int:
        """Tokens that the language model knows."""
        return int(self.head.weight.shape[0])

    @cached_property
    def dev(self) -> Tensor:
        """Sequences that stop EM."""
        return read_sequences(self.arguments.dev)

    @cached_property
    def test(self) -> Tensor:
        """Sequences that are reported on."""
        return read_sequences(self.arguments.test)
