"""What the files of a language model claim, compared with what they hold, before and after transformers loads them.

transformers fills what a file lacks with random numbers, and makes room for whatever sizes config.json states. Here a
model without memory (torch's `meta` device) is built from the configuration first; where it has far more parameters
than the files hold numbers, nothing is loaded.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ctrlg.errors import CheckpointError
from ctrlg.files.tensors import read_json_object, regular_file, stored_tensors

PACKED = 16  # numbers that a stored number may stand for where weights are quantised: 2 bits in an int32
ROOM = 2  # parameters for each stored number otherwise: a tied matrix is stored once
_READING = threading.RLock()  # while the package gguf is changed
_CONFIGURATIONS = ("config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json")


class Held(NamedTuple):
    """Tensors in the files of a model, and numbers in all of them."""

    tensors: int
    numbers: int


def checked_files(folder: Path) -> Held | None:
    """What the files of a local folder hold, each checked by itself; None where it holds no safetensors (the weights of
    an adapter's base, or PyTorch's own format, which transformers checks). Raises CheckpointError."""
    for name in _CONFIGURATIONS:
        if (folder / name).exists() or (folder / name).is_symlink():
            read_json_object(folder / name)
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").exists():
        return None
    stored = [tensor for file in files for tensor in stored_tensors(file).values()]
    return Held(len(stored), sum(tensor.size for tensor in stored))


def checked_gguf(file: Path) -> Held:
    """What a GGUF file holds. Raises CheckpointError."""
    from gguf import GGUFReader

    def read() -> Held:
        reader = GGUFReader(regular_file(file))
        _check_length(reader, file)
        return Held(len(reader.tensors), sum(int(tensor.n_elements) for tensor in reader.tensors))

    if not file.exists():
        raise CheckpointError(f"no such file: {file}", hint="name a .gguf file")
    return foreign_errors(read, f"the GGUF file {file}")


def _check_length(reader: Any, file: Path) -> None:
    """Raise CheckpointError where a file is longer than its tensors: bytes that came in moved those behind them."""
    end = max((int(tensor.data_offset) + int(tensor.n_bytes) for tensor in reader.tensors), default=0)
    size, padded = file.stat().st_size, -(-end // reader.alignment) * reader.alignment
    if end and size not in (end, padded):
        raise CheckpointError(
            f"{file} has {size:,} bytes, its tensors end at {end:,}", hint="the file is damaged: fetch it again"
        )


@contextmanager
def gguf_read_once() -> Iterator[None]:
    """Let transformers and `checked_gguf` share what they read of a GGUF file inside the block.

    gguf builds half a million small arrays for the words of a vocabulary each time that a file is opened, four times
    for a model, and a table of names for each of its modules: most of the seconds that loading takes. They find the
    reader in the package, so it is replaced there, by one thread at a time.
    """
    import gguf

    with _READING:
        yield from _read_once(gguf)


def _read_once(gguf: Any) -> Iterator[None]:
    reader, name_map = gguf.GGUFReader, gguf.get_tensor_name_map
    opened = functools.cache(reader)
    gguf.GGUFReader = lambda path: opened(str(path))
    gguf.get_tensor_name_map = functools.cache(name_map)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, name_map


def check_sizes(config: Any, held: Held, name: str) -> None:
    """Raise CheckpointError where the configuration asks for far more parameters than the files hold numbers."""
    from transformers import AutoModelForCausalLM

    _check_counts(config, name)
    layers = getattr(config.get_text_config(), "num_hidden_layers", None) or 0
    if layers > held.tensors:
        raise CheckpointError(
            f"{name}: its configuration states {layers!r} layers, its files hold {held.tensors} tensors"[:200]
        )

    def count() -> int:
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config)
        return sum(parameter.numel() for parameter in skeleton.parameters())

    wanted = foreign_errors(count, f"the language model {name}")
    packed = getattr(config, "quantization_config", None) is not None
    if wanted > held.numbers * (PACKED if packed else ROOM):
        raise CheckpointError(
            f"{name}: its configuration describes {wanted:,} parameters, its files hold {held.numbers:,} numbers"
        )


def check_loaded(model: Any, missing: Iterable[str], unexpected: Iterable[str], name: str) -> None:
    """Raise CheckpointError where parameters were not in the files or are not finite, and where the files hold layers
    that the configuration leaves out. missing, unexpected: names, as transformers reports them."""
    _check_counts(model.config, name)
    parameters = [parameter for parameter, _ in model.named_parameters()]
    kinds = {_unnumbered(parameter.removeprefix(start)) for parameter in parameters for start in _prefixes(model)}
    left_out = sorted(key for key in unexpected if _unnumbered(key) in kinds)
    if left_out:
        raise CheckpointError(
            f"{name}: its configuration leaves out {len(left_out)} tensors of its files, among them {left_out[0]}",
            hint="num_hidden_layers in config.json is the number of layers in the files",
        )
    lacking = sorted(missing)
    if lacking:
        raise CheckpointError(
            f"{name} lacks {len(lacking)} of its tensors, among them {lacking[0]}",
            hint="they would be random; a language model needs all of them, lm_head.weight too unless it is tied",
        )
    for parameter_name, parameter in model.named_parameters():
        ordinary = parameter.is_floating_point() and parameter.dtype.itemsize > 1 and not parameter.is_meta
        if ordinary and not all(bool(bound.isfinite()) for bound in torch.aminmax(parameter.detach())):
            raise CheckpointError(f"{parameter_name} of {name} holds a number that is not finite")


def _check_counts(config: Any, name: str) -> None:
    """Raise CheckpointError for a number of layers or of positions below 1; a model may state none."""
    for count in ("num_hidden_layers", "max_position_embeddings"):
        stated = getattr(config.get_text_config(), count, None)
        if stated is not None and not (isinstance(stated, int) and stated >= 1):
            raise CheckpointError(
                f"{name}: its configuration states {count} {stated!r}"[:200], hint="1 or more, as the model has"
            )


def _prefixes(model: Any) -> tuple[str, str]:
    """What names in files may lack at their beginning: they may be of the model without its head."""
    return "", f"{model.base_model_prefix}."


def _unnumbered(parameter: str) -> str:
    """The name of a parameter without the numbers of its layer and the like."""
    return re.sub(r"\b\d+\b", "#", parameter)


def foreign_errors(load: Callable[[], Any], wanted: str) -> Any:
    """What `load` returns; whatever it raises, as a CheckpointError.

    Parsers of other libraries meet damaged files with errors of any type, Rust panics (no Exception) among them.
    """
    try:
        return load()
    except (CheckpointError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = (str(error).strip() or type(error).__name__)[:500]
        raise CheckpointError(
            f"cannot load {wanted}: {reason}",
            hint='give a Hugging Face id, a folder, a .gguf file, "default", "instruct" or "default-base"; '
            "where it is one of these, the file is damaged: fetch it again",
        ) from error
