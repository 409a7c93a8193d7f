"""A decoder run one layer at a time, with exactly what its own forward gives to every layer.

The model itself prepares what its layers receive: embeddings, attention masks (Gemma's layers do not all get the same),
position embeddings. A forward in which every layer is bypassed records all that at the cost of the embeddings, and
another, in which the last layer's output is put in place, computes everything that follows the layers. So nothing here
knows about any architecture. Some layers return a tensor, some a tuple that begins with one: both are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ctrlg.arguments import checked
from ctrlg.errors import ArgumentError
from normtweaking.structure import Decoder, decoder_layers, norms

Batch = Mapping[str, Tensor]  # arguments of the model: input_ids int64 [B, T], perhaps attention_mask, position_ids
HIDDEN_STATES = "hidden_states"  # what transformers calls a layer's first argument


class LayerCall(NamedTuple):
    """What a layer receives beside the hidden states.

    Attributes:
        arguments: by place.
        options: by name.
    """

    arguments: tuple[Any, ...]
    options: Mapping[str, Any]


class LayerInputs(NamedTuple):
    """What the layers receive for one batch.

    Attributes:
        hidden: what the first layer reads, [B, T, C].
        calls: one for each layer.
    """

    hidden: Tensor
    calls: tuple[LayerCall, ...]


class LayerChain:
    """The layers of a causal decoder of transformers.

    Args:
        model: a causal decoder of transformers.

    Attributes:
        layers: its decoder layers, in order.
        prefix: their list's name in the model.

    Raises:
        ArgumentError: the model has no decoder layers that can be found.
    """

    @checked
    def __init__(self, model: Decoder) -> None:
        self.model = model
        self.prefix, modules = decoder_layers(model)
        self.layers = tuple(modules.children())
        self._returns_tuple: bool | None = None

    def inputs(self, batch: Batch) -> LayerInputs:
        """What the layers receive in the model's own forward of this batch; only the embeddings are computed.

        Args:
            batch: what the model reads.
        """
        calls: list[LayerCall] = []
        first: list[Tensor] = []

        def record(index: int, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
            hidden, call = _separated(arguments, options)
            first.append(hidden)
            calls.append(call)
            if self._returns_tuple is None:
                # Only the layer itself can say whether it returns a tensor or a tuple.
                self._returns_tuple = isinstance(originals[index](*arguments, **options), tuple)
            if index == len(self.layers) - 1:
                raise _AllSeen
            return self._returned(hidden)

        with _replaced_forwards(self.layers, record) as originals, torch.no_grad():
            try:
                self._forward(batch)
            except _AllSeen:
                return LayerInputs(first[0], tuple(calls))
        raise ArgumentError(
            f"{type(self.model).__name__} ran {len(calls)} of its {len(self.layers)} layers",
            hint="only models that run every decoder layer once can be taken apart",
        )

    def run(self, index: int, hidden: Tensor, call: LayerCall) -> Tensor:
        """What a layer makes of hidden states, [B, T, C].

        Args:
            index: of the layer, from 0.
            hidden: [B, T, C].
            call: what else it receives.
        """
        output = self.layers[index](hidden, *call.arguments, **call.options)
        return output[0] if isinstance(output, tuple) else output

    def through(self, batch: Batch) -> Tensor:
        """What the last layer returns in the model's own forward, [B, T, C]; gradients flow back to the layers.

        Args:
            batch: what the model reads.
        """
        hidden, calls = self.inputs(batch)
        for index, call in enumerate(calls):
            hidden = self.run(index, hidden, call)
        return hidden

    def finish(self, batch: Batch, hidden: Tensor, positions: Tensor | None = None) -> Tensor:
        """Logits [B, T or len(positions), V] from what the last layer returned, [B, T, C].

        Args:
            batch: what the model reads.
            hidden: [B, T, C].
            positions: int64, of which logits are wanted; all where None. Gradients flow back to `hidden`.
        """
        if self._returns_tuple is None:
            self.inputs(batch)

        def put_in_place(index: int, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
            if index == len(self.layers) - 1:
                return self._returned(hidden)
            return self._returned(_separated(arguments, options)[0])

        with _replaced_forwards(self.layers, put_in_place):
            return logits_at(self.model, batch, positions)

    def final_norm(self, batch: Batch) -> tuple[str, nn.Module] | None:
        """(name, module) of the norm that reads what the last layer returned; None where there is no such norm.

        Args:
            batch: what the model reads.
        """
        last = self.inputs(batch).hidden.clone()  # a tensor of its own, to be recognised by
        readers: list[nn.Module] = []

        def look(norm: nn.Module, arguments: tuple[Any, ...]) -> None:
            if arguments and arguments[0] is last:
                readers.append(norm)

        outer = {norm: name for name, norm in norms(self.model) if not name.startswith(f"{self.prefix}.")}
        handles = [norm.register_forward_pre_hook(look) for norm in outer]
        try:
            with torch.no_grad():
                self.finish(batch, last, torch.zeros(1, dtype=torch.long, device=last.device))
        finally:
            for handle in handles:
                handle.remove()
        return (outer[readers[0]], readers[0]) if readers else None

    def check(self, batch: Batch, tolerance: float = 1e-3) -> None:
        """Check that layer after layer gives the model's own logits.

        Args:
            batch: any that the model can read.
            tolerance: largest difference, in standard deviations of the logits.

        Raises:
            ArgumentError: it does not.
        """
        with torch.no_grad():
            expected = self._forward(batch).logits.float()
            difference = (self.finish(batch, self.through(batch)).float() - expected).abs().max() / expected.std()
        if not difference <= tolerance:
            raise ArgumentError(
                f"run layer by layer, {type(self.model).__name__} gives other logits (by {difference:.2g} of their "
                "standard deviation)",
                hint="its layers exchange more than hidden states; such models cannot be taken apart",
            )

    def _forward(self, batch: Batch) -> Any:
        return self.model(**batch, use_cache=False)

    def _returned(self, hidden: Tensor) -> Any:
        return (hidden,) if self._returns_tuple else hidden


def logits_at(model: Any, batch: Batch, positions: Tensor | None = None) -> Tensor:
    """A model's logits [B, T or len(positions), V]; the others are not computed where the model allows for it.

    Args:
        model: a causal decoder of transformers.
        batch: what the model reads.
        positions: int64, of which logits are wanted; all where None.
    """
    if positions is None:
        return model(**batch, use_cache=False).logits
    if "logits_to_keep" in signature(model.forward).parameters:
        return model(**batch, use_cache=False, logits_to_keep=positions).logits
    return model(**batch, use_cache=False).logits[:, positions]


class _AllSeen(Exception):
    """Ends a forward once every layer has been reached."""


Replacement = Callable[[int, tuple[Any, ...], dict[str, Any]], Any]


@contextmanager
def _replaced_forwards(layers: Sequence[Any], replacement: Replacement) -> Iterator[list[Callable[..., Any]]]:
    """Let layer i answer `replacement(i, arguments, options)` while the block runs; yields the layers' own forwards."""
    own = [layer.__dict__.get("forward") for layer in layers]  # where another library has put one in place already
    originals = [layer.forward for layer in layers]
    for index, layer in enumerate(layers):
        layer.forward = lambda *arguments, _index=index, **options: replacement(_index, arguments, options)
    try:
        yield originals
    finally:
        for layer, forward in zip(layers, own, strict=True):
            del layer.forward
            if forward is not None:
                layer.forward = forward


def _separated(arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[Tensor, LayerCall]:
    """Hidden states, and all the rest that a layer received."""
    if arguments:
        return arguments[0], LayerCall(arguments[1:], dict(options))
    rest = dict(options)
    return rest.pop(HIDDEN_STATES), LayerCall((), rest)
