"""The parts of a decoder, found by what they are and do, not by what they are called.

Decoder layers are the list of modules as long as the configuration says the model is deep; a norm is a module that
answers the same when its input is doubled; a linear layer is one of the two kinds of transformers, `nn.Linear` and
GPT-2's `Conv1D`, which stores the transpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from ctrlg.arguments import shown
from ctrlg.errors import ArgumentError

PROBE_SIZE = 1e3  # of a norm's probe: large, so that the constant below its root does not count


def decoder(name: str, value: Any) -> Any:
    """A check of an argument: a decoder of transformers, or what stands for one.

    Args:
        name: of the argument.
        value: of the argument.
    """
    if not isinstance(value, nn.Module) or not hasattr(value, "config") or not hasattr(value, "get_input_embeddings"):
        raise ArgumentError(
            f"{name} is {shown(value)}",
            hint="a causal language model of transformers; ctrlg.loading.load_language_model opens one by name",
        )
    return value


Decoder = Annotated[Any, decoder]


class DecoderLayers(NamedTuple):
    """The layers of a decoder.

    Attributes:
        name: of the list in the model, such as "model.layers".
        modules: the layers in the order they run.
    """

    name: str
    modules: nn.ModuleList


class Linear(NamedTuple):
    """A linear layer.

    Attributes:
        name: of its module in the model.
        module: the layer.
        transposed: whether the weight is stored as [in, out].
    """

    name: str
    module: nn.Module
    transposed: bool

    @property
    def weight(self) -> Tensor:
        """[out, in], a view of the stored weight."""
        weight: Any = self.module.weight
        return weight.detach().T if self.transposed else weight.detach()


def decoder_layers(model: nn.Module) -> DecoderLayers:
    """The layers of a causal decoder of transformers.

    Args:
        model: a causal decoder of transformers.

    Raises:
        ArgumentError: no list of modules is as long as the model's configuration says.
    """
    config: Any = model.config
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    depth = getattr(config, "num_hidden_layers", None)
    for name, module in model.named_modules():  # outer modules come first
        if isinstance(module, nn.ModuleList) and len(module) == depth and any(norms(module)):
            return DecoderLayers(name, module)
    raise ArgumentError(
        f"{type(model).__name__} has no list of {depth} decoder layers with norms",
        hint="give a causal language model of transformers",
    )


def norms(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """(name, module) of every LayerNorm or RMSNorm below a module, in the order they were registered.

    Args:
        module: to look below.
        prefix: the module's name in the model.
    """
    for name, part in module.named_modules(prefix=prefix):
        if is_norm(part):
            yield name, part


def is_norm(module: nn.Module) -> bool:
    """Whether it has a weight [C], perhaps a bias [C], nothing else to learn, and the same answer to x and to 2 x.

    Args:
        module: any.
    """
    parameters = dict(module.named_parameters())
    if not parameters or not parameters.keys() <= {"weight", "bias"} or "weight" not in parameters:
        return False
    weight = parameters["weight"]
    if any(parameter.dim() != 1 or parameter.shape != weight.shape for parameter in parameters.values()):
        return False
    probe = _probe(weight)
    values = {name: torch.ones_like(parameter) for name, parameter in parameters.items()}
    try:
        with torch.no_grad():
            once, twice = (functional_call(module, values, (factor * probe,)) for factor in (1, 2))
    except (TypeError, RuntimeError):  # it takes other arguments, or an input of another shape
        return False
    if not isinstance(once, Tensor) or once.shape != probe.shape:
        return False
    return torch.allclose(once.float(), twice.float(), rtol=0.02, atol=0.02)  # wide enough for bfloat16


def gain_offset(norm: nn.Module) -> float:
    """What a norm adds to its weight before it multiplies: 0 for most, 1 for Gemma's.

    Args:
        norm: a LayerNorm or RMSNorm.
    """
    parameters = dict(norm.named_parameters())
    probe = _probe(parameters["weight"])

    def answer(weight: float) -> Tensor:
        values = {
            name: torch.full_like(parameter, weight * (name == "weight")) for name, parameter in parameters.items()
        }
        return functional_call(norm, values, (probe,)).float()

    with torch.no_grad():
        without, once = answer(0.0), answer(1.0)
        return float((without / (once - without)).median().round())


def linear_layers(module: nn.Module, prefix: str = "") -> Iterator[Linear]:
    """Every linear layer below a module (mixtures of experts that store 3-D weights are not among them).

    Args:
        module: to look below.
        prefix: the module's name in the model.
    """
    for name, part in module.named_modules(prefix=prefix):
        if isinstance(part, (nn.Linear, Conv1D)):
            yield Linear(name, part, isinstance(part, Conv1D))


def _probe(weight: Tensor) -> Tensor:
    """[2, C], far from zero and from constant, the same every time."""
    generator = torch.Generator().manual_seed(0)
    return PROBE_SIZE * torch.randn(2, len(weight), generator=generator).to(weight.device, weight.dtype)
