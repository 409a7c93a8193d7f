"""Weights rounded to few levels, kept as the floats they stand for.

    round to nearest   w ~ step * code, or minimum + step * code       one step for each output channel or group
    k-means            w ~ codebook[code]                              one codebook for each output channel or group

Groups are runs of `group_size` neighbours in a row of the weight [out, in]. Nothing is clipped: with round to nearest
no entry moves by more than half a step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ctrlg.arguments import Between, LanguageModel, Positive, TwoOrMore, checked
from ctrlg.errors import ArgumentError, CheckpointError
from ctrlg.files.tensors import FLOAT_TYPES, stored_tensors
from normtweaking.defaults import BITS
from normtweaking.rounding.codebooks import nearest_levels
from normtweaking.structure import Linear, decoder_layers, linear_layers

FEWEST_BITS, MOST_BITS = 2, 8
Bits = Annotated[int, Between(FEWEST_BITS, MOST_BITS)]
GroupSize = TwoOrMore


class Weight(NamedTuple):
    """A weight to quantise.

    Attributes:
        name: of the parameter in the model.
        values: [out, in].
        transposed: whether the model (and a file of its tensors) stores it as [in, out].
    """

    name: str
    values: Tensor
    transposed: bool = False


class Levels(NamedTuple):
    """Values `least + codes * step`.

    Attributes:
        codes: whole numbers, [G, n].
        step: of each group, [G, 1].
        least: of each group, [G, 1].
    """

    codes: Tensor
    step: Tensor
    least: Tensor


class Quantizer(Protocol):
    """What stands for each weight."""

    def check(self, weight: Weight) -> None:
        """Check a weight, at no cost.

        Args:
            weight: to quantize later.

        Raises:
            CtrlGError: as `quantize`.
        """
        ...

    def quantize(self, weight: Weight) -> Tensor:
        """[out, in] of the weight's own type: the values that are left of it.

        Args:
            weight: [out, in].

        Raises:
            ArgumentError: a weight of another shape.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What tells it from other quantizers, as JSON holds it."""
        ...


@checked
@dataclass(frozen=True)
class RoundToNearest:
    """Round to the nearest of 2^bits equidistant levels.

    Args:
        bits: 2 to 8.
        group_size: entries that share a step; a whole output channel where None.
        symmetric: levels -m .. m times the step, m = 2^(bits - 1) - 1, so 2^bits - 1 of them; else from the least entry
            to the greatest, as in GGUF's Q4_1.

    Raises:
        ArgumentError: other bits and group sizes.
    """

    bits: Bits = BITS
    group_size: GroupSize | None = None
    symmetric: bool = False

    def check(self, weight: Weight) -> None:
        grouped(weight, self.group_size)

    def quantize(self, weight: Weight) -> Tensor:
        codes, step, least = self.levels(grouped(weight, self.group_size))
        return _like(codes * step if self.symmetric else least + codes * step, weight.values)

    def levels(self, groups: Tensor) -> Levels:
        """What groups [G, n] are rounded to; the same for values that have been rounded already.

        Args:
            groups: [G, n].
        """
        if self.symmetric:
            step = groups.abs().amax(1, keepdim=True) / (2 ** (self.bits - 1) - 1)
            return Levels((groups / _positive(step)).round(), step, torch.zeros_like(step))
        least, greatest = groups.aminmax(dim=1, keepdim=True)
        step = (greatest - least) / (2**self.bits - 1)
        return Levels(((groups - least) / _positive(step)).round(), step, least)

    def describe(self) -> dict[str, Any]:
        return {"quantizer": "rtn", **asdict(self)}


@checked
@dataclass(frozen=True)
class KMeans:
    """Round to the nearest of 2^bits levels that k-means (Lloyd's algorithm) finds.

    The squared error is never above that of asymmetric round to nearest. Deterministic.

    Args:
        bits: 2 to 8.
        group_size: entries that share a codebook; a whole output channel where None.
        iterations: at most.

    Raises:
        ArgumentError: other bits, group sizes and iterations.
    """

    bits: Bits = BITS
    group_size: GroupSize | None = None
    iterations: Positive = 30

    def check(self, weight: Weight) -> None:
        grouped(weight, self.group_size)

    def quantize(self, weight: Weight) -> Tensor:
        groups = grouped(weight, self.group_size)
        return _like(nearest_levels(groups, 2**self.bits, self.iterations), weight.values)

    def describe(self) -> dict[str, Any]:
        return {"quantizer": "k-means", **asdict(self)}


@checked
@dataclass(frozen=True)
class Precomputed:
    """Weights from a safetensors file, by the model's names for them: what GPTQ, AWQ or anything else left.

    Attributes:
        path: the tensors are floats, shaped as the model stores them.

    Raises:
        CheckpointError: there is no such file.
    """

    path: str | Path

    def __post_init__(self) -> None:
        if not Path(self.path).is_file():
            raise CheckpointError(f"no file of quantised weights: {self.path}", hint="give a .safetensors file")
        stored_tensors(self.path)

    def check(self, weight: Weight) -> None:
        rows, columns = weight.values.shape
        self._stored(weight.name, [columns, rows] if weight.transposed else [rows, columns])

    def quantize(self, weight: Weight) -> Tensor:
        values = weight.values.T if weight.transposed else weight.values
        values = self.read(weight.name, list(values.shape)).to(values)
        return values.T if weight.transposed else values

    def read(self, name: str, shape: list[int]) -> Tensor:
        """The tensor for a parameter.

        Args:
            name: of the parameter.
            shape: of the parameter.

        Raises:
            CheckpointError: there is none, or one of another shape.
        """
        stored = self._stored(name, shape)
        with safe_open(self.path, framework="pt") as content:
            return content.get_tensor(stored)

    def describe(self) -> dict[str, Any]:
        return {"quantizer": "file", "path": str(self.path)}

    def _stored(self, name: str, shape: list[int]) -> str:
        """The name in the file of a parameter's values: its own, or its own in the bare or in the causal model."""
        there = stored_tensors(self.path)
        names = [name] if name in there else [other for other in there if _differ_by_prefix(name, other)]
        if len(names) != 1:
            raise CheckpointError(
                f"{self.path} has {'no' if not names else 'more than one'} tensor {name!r}",
                hint="name tensors as the model's state_dict does",
            )
        found = there[names[0]]
        if list(found.shape) != shape or found.dtype not in FLOAT_TYPES:
            raise CheckpointError(
                f"{name} in {self.path} is {found.dtype} {list(found.shape)}, the model's is {shape}",
                hint="store the values themselves, not their codes, in the model's own shape",
            )
        return names[0]


def quantize_layers(module: nn.Module, quantizer: Quantizer, prefix: str = "") -> None:
    """Quantise every linear layer below a module, in place.

    Args:
        module: to look below.
        quantizer: of the weights.
        prefix: the module's name in the model.
    """
    for linear in linear_layers(module, prefix):
        _quantize_linear(linear, quantizer)


@checked
def quantize_model(model: LanguageModel, quantizer: Quantizer, embeddings: bool = False, head: bool = False) -> None:
    """Quantise the linear layers of all decoder layers, in place.

    Args:
        model: a causal decoder of transformers.
        quantizer: of the weights.
        embeddings: these too; where they share a weight with the head, either means both.
        head: it too.

    Raises:
        ArgumentError: as the quantizer.
    """
    check_fits(model, quantizer, embeddings, head)
    prefix, layers = decoder_layers(model)
    quantize_layers(layers, quantizer, prefix)
    quantize_outside(model, quantizer, embeddings, head)


def quantize_outside(model: Any, quantizer: Quantizer, embeddings: bool = False, head: bool = False) -> None:
    """Quantise the embeddings, a row for each token, and the head, where asked for, in place.

    Args:
        model: a causal decoder of transformers.
        quantizer: of the weights.
        embeddings: whether these too.
        head: whether it too.
    """
    done: set[int] = set()
    for name, module in outside(model, embeddings, head):
        if id(module.weight) not in done:
            done.add(id(module.weight))
            weight = module.weight.detach()
            weight.copy_(quantizer.quantize(Weight(f"{name}.weight", weight)))


def outside(model: Any, embeddings: bool, head: bool) -> Iterator[tuple[str, Any]]:
    """(name, module) of the embeddings and the head, those that are asked for.

    Args:
        model: a causal decoder of transformers.
        embeddings: whether these too.
        head: whether it too.
    """
    wanted = [model.get_input_embeddings()] * embeddings + [model.get_output_embeddings()] * head
    for name, module in model.named_modules():
        if any(module is part for part in wanted):
            yield name, module


def check_fits(model: Any, quantizer: Quantizer, embeddings: bool = False, head: bool = False) -> None:
    """Check, before any work, that a quantizer takes all weights of a model.

    Args:
        model: a causal decoder of transformers.
        quantizer: of its linear layers.
        embeddings: whether these are quantized too.
        head: whether it is quantized too.

    Raises:
        CtrlGError: as the quantizer, for a weight's shape or name.
    """
    prefix, layers = decoder_layers(model)
    for linear in linear_layers(layers, prefix):
        quantizer.check(Weight(f"{linear.name}.weight", linear.weight, linear.transposed))
    for name, module in outside(model, embeddings, head):
        quantizer.check(Weight(f"{name}.weight", module.weight.detach()))


def grouped(weight: Weight, group_size: int | None) -> Tensor:
    """Entries that share a step, float32 [groups, size].

    Args:
        weight: [out, in].
        group_size: entries that share a step; a whole channel where None.

    Raises:
        ArgumentError: groups do not fill the rows.
    """
    width = weight.values.shape[1]
    size = width if group_size is None else group_size
    if width % size:
        fitting = [divisor for divisor in range(2, width + 1) if width % divisor == 0]
        raise ArgumentError(
            f"groups of {size} do not fill the {width} inputs of {weight.name}",
            hint=f"a group_size of {', '.join(map(str, fitting))}, or none for whole channels",
        )
    return weight.values.detach().float().reshape(-1, size)


def _differ_by_prefix(one: str, other: str) -> bool:
    """Whether one name is the other behind a prefix, as "transformer.h.0.ln_1.weight" is "h.0.ln_1.weight".

    The prefix has no number, so what is left still says which layer it is.
    """
    short, long = sorted((one, other), key=len)
    prefix = long.removesuffix(f".{short}")
    return prefix != long and not any(part.isdigit() for part in prefix.split("."))


def _quantize_linear(linear: Linear, quantizer: Quantizer) -> None:
    weight = linear.weight
    weight.copy_(quantizer.quantize(Weight(f"{linear.name}.weight", weight, linear.transposed)))


def _like(groups: Tensor, values: Tensor) -> Tensor:
    return groups.reshape(values.shape).to(values.dtype)


def _positive(step: Tensor) -> Tensor:
    """Steps to divide by: those of constant groups are zero, and any other does as well."""
    return torch.where(step > 0, step, torch.ones_like(step))
