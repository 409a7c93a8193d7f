"""The language model as it is: without its own generation settings, in evaluation mode, and never changed.

`transformers.generate` fills every setting that a caller leaves open from `model.generation_config`, and a model in
training mode drops activations. Writing to the user's model and back would disturb other threads, so this makes shallow
copies of the few modules that need another attribute; parameters, buffers and all other modules are shared.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import GenerationConfig

from ctrlg.errors import ArgumentError


def plain_model(model: Any) -> Any:
    """`model` in evaluation mode and with an empty generation_config; what is not a torch module, as it is.

    Raises ArgumentError for a model in training mode whose `forward` was replaced, as `accelerate` does for models that
    are spread over devices: its original modules would still run in training mode.
    """
    return _plain(model, {}) if isinstance(model, nn.Module) else model


def _plain(module: nn.Module, seen: dict[int, nn.Module]) -> nn.Module:
    if id(module) in seen:
        return seen[id(module)]
    children = {name: None if child is None else _plain(child, seen) for name, child in module._modules.items()}
    changes: dict[str, Any] = {}
    if any(children[name] is not child for name, child in module._modules.items()):
        changes["_modules"] = children
    if module.training:
        changes["training"] = False
    if "generation_config" in vars(module):
        changes["generation_config"] = GenerationConfig()
    if module.training and "forward" in vars(module):
        raise ArgumentError("the language model is in training mode", hint="call model.eval() first")
    seen[id(module)] = _changed(module, changes) if changes else module
    return seen[id(module)]


def _changed(module: nn.Module, changes: dict[str, Any]) -> nn.Module:
    """A shallow copy with other attributes; __init__ and __getstate__, which may do more, are not run."""
    copy = type(module).__new__(type(module))
    vars(copy).update(vars(module) | changes)
    return copy
