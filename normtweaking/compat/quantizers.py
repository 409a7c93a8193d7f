"""Quantizers that change a parameter in place, as those of the norm-tweaking repository do.

Channels are entries of the last dimension. GPT-2 stores its weights as [in, out], so they are output channels; for
models of `nn.Linear`, which store [out, in], `Bridge` hands the transpose over, so they are output channels there too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ctrlg.errors import ArgumentError
from normtweaking.rounding.codebooks import nearest_levels
from normtweaking.rounding.quantizers import Precomputed, Weight

MOST_BITS = 16
STEP_OF_CONSTANTS = 0.001  # of groups whose entries are all equal
LLOYD_STEPS = 30  # of k-means, at most


class Quantizer:
    """What stands for each weight; to be subclassed."""

    def metadata(self) -> dict[str, str]:
        """What tells it from other quantizers."""
        return {"name": type(self).__name__}

    def quantize(self, name: str, param: nn.Parameter) -> None:
        """Give a parameter its quantised values.

        Args:
            name: in the bare model, such as "h.0.attn.c_attn.weight".
            param: is changed in place.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to quantize")


class ChannelQuantizer(Quantizer):
    """Quantises groups of channels, each on its own.

    Args:
        nbits: 1 to 16.
        group_size: channels that share their levels; all where None. A last group may be smaller.

    Raises:
        ArgumentError: other bits and group sizes.
    """

    def __init__(self, nbits: int, group_size: int | None = None) -> None:
        if not 1 <= nbits <= MOST_BITS:
            raise ArgumentError(f"nbits is {nbits}", hint=f"choose 1 to {MOST_BITS}")
        if group_size is not None and group_size < 1:
            raise ArgumentError(f"group_size is {group_size}", hint="choose 1 or more, or None for all channels")
        self.nbits = nbits
        self.group_size = group_size

    def metadata(self) -> dict[str, str]:
        return {**super().metadata(), "nbits": str(self.nbits), "group_size": str(self.group_size)}

    def quantize(self, name: str, param: nn.Parameter) -> None:
        param.data = self.quantized(param.detach())

    def quantized(self, values: Tensor) -> Tensor:
        """What stands for values [..., channels].

        Args:
            values: [..., channels].
        """
        channels = values.reshape(-1, values.shape[-1]).T
        size = min(self.group_size or len(channels), len(channels))
        whole = len(channels) // size * size  # channels in groups that are full
        parts = [channels[:whole].reshape(whole // size, -1), channels[whole:].reshape(1, -1)]
        rounded = [self._levels(part).reshape(-1, channels.shape[1]) for part in parts if part.numel()]
        return torch.cat(rounded).T.reshape(values.shape).contiguous()

    def _levels(self, groups: Tensor) -> Tensor:
        """What stands for the entries of groups [G, n], of the same shape and type."""
        raise NotImplementedError


class LinearQuantizer(ChannelQuantizer):
    """Symmetric round to nearest: level 0 is 0, and the step is that of the group's own range.

        w ~ step * round(w / step),    step = (max - min) / (2^nbits - 1)

    Where `min` lies exactly between two levels, so does `max`. Rounded away from zero, the two would need one level too
    many: `max` takes the level below, which is as near.
    """

    def _levels(self, groups: Tensor) -> Tensor:
        least, greatest = groups.aminmax(dim=1, keepdim=True)
        step = (greatest - least) / (2**self.nbits - 1)
        step = torch.where(step == 0, STEP_OF_CONSTANTS, step)
        last = (least / step).round() + (2**self.nbits - 1)
        return torch.minimum((groups / step).round(), last) * step


class KMeansQuantizer(ChannelQuantizer):
    """The nearest of 2^nbits levels that k-means finds for a group."""

    def _levels(self, groups: Tensor) -> Tensor:
        return nearest_levels(groups.float(), 2**self.nbits, LLOYD_STEPS).to(groups.dtype)


class PreComputedQuantizer(Quantizer):
    """Values from a safetensors file, by the names of the bare or of the causal model.

    Args:
        path: of the file.
        device: taken for compatibility; values go to where the parameter is.

    Raises:
        ArgumentError: a file of another name.
        CheckpointError: there is none.
    """

    def __init__(self, path: str | Path, device: Any = None) -> None:
        if not str(path).endswith(".safetensors"):
            raise ArgumentError(f"the file of quantised weights is {path}", hint="give a .safetensors file")
        self.path = str(path)
        self.device = device
        self.weights = Precomputed(path)

    def metadata(self) -> dict[str, str]:
        return {**super().metadata(), "path": self.path}

    def quantize(self, name: str, param: nn.Parameter) -> None:
        """Give a parameter its values from the file.

        Args:
            name: in the bare or the causal model.
            param: is changed in place.

        Raises:
            CheckpointError: the file lacks the name, or has values of another shape.
        """
        param.data = self.weights.read(name, list(param.shape)).to(param)


class Bridge:
    """A quantizer of these as one of `normtweaking.rounding.quantizers.Quantizer`.

    Args:
        prefix: of the bare model's names in the model, such as "transformer."; it is left out of the names handed over.
    """

    def __init__(self, quantizer: Any, prefix: str = "") -> None:
        self._quantizer = quantizer
        self._prefix = prefix

    def check(self, weight: Weight) -> None:
        if isinstance(self._quantizer, PreComputedQuantizer):
            self._quantizer.weights.check(weight)

    def quantize(self, weight: Weight) -> Tensor:
        if isinstance(self._quantizer, ChannelQuantizer):
            return self._quantizer.quantized(weight.values.T).T
        stored = weight.values.T if weight.transposed else weight.values
        parameter = nn.Parameter(stored.detach().clone(), requires_grad=False)
        self._quantizer.quantize(weight.name.removeprefix(self._prefix), parameter)
        if parameter.shape != stored.shape:
            raise ArgumentError(
                f"{type(self._quantizer).__name__} made {weight.name} {tuple(parameter.shape)}",
                hint=f"keep its shape, {tuple(stored.shape)}",
            )
        return (parameter.data.T if weight.transposed else parameter.data).to(weight.values)

    def describe(self) -> dict[str, Any]:
        return dict(self._quantizer.metadata())
