"""A tweaked model in real bytes: a GGUF file, which llama.cpp, transformers and `ctrlg.loading.language_models` read.

    Q4_1   blocks of 32: value = minimum + step * code, codes 0 .. 15        5 bits a weight
    Q8_0   blocks of 32: value = step * code, codes -128 .. 127            8.5 bits a weight

Weights that round to nearest left are not rounded again where the format holds their levels: the codes of their own
groups are stored, with the group's step and minimum in every block of it, so that nothing is lost but the last digits
of the two, which the format keeps in float16. Everything else is rounded by the `gguf` package. Matrices outside of the
decoder layers are stored in float16, norms in float32.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ctrlg.errors import ArgumentError
from ctrlg.files.atomic import atomic_file
from normtweaking.rounding.quantizers import Quantizer, RoundToNearest, Weight, grouped
from normtweaking.structure import decoder_layers, linear_layers

FORMATS = ("Q4_1", "Q8_0")
BLOCK = 32  # entries of a block in both formats
ARCHITECTURE = "llama"
PRE_TOKENIZER = "smollm"  # llama.cpp's name for SmolLM2's way of cutting text into words
NORMAL, CONTROL = 1, 3  # kinds of tokens


def check_exportable(model: Any, form: str) -> None:
    """Check that a model can be written in a format.

    Args:
        model: a causal language model of transformers.
        form: of `FORMATS`.

    Raises:
        ArgumentError: a format or a model that cannot be written.
    """
    if form not in FORMATS:
        raise ArgumentError(f"the GGUF format {form!r} is unknown", hint=f"one of: {', '.join(FORMATS)}")
    if model.config.model_type != ARCHITECTURE:
        raise ArgumentError(
            f"a model of type {model.config.model_type!r} cannot be written as GGUF",
            hint="Llama and SmolLM2 can; save any other as a folder",
        )
    rope = model.config.rope_parameters
    if rope.get("rope_type", "default") != "default" or model.config.hidden_act != "silu":
        raise ArgumentError(
            f"positions of type {rope.get('rope_type')!r} or the activation {model.config.hidden_act!r} cannot be "
            "written as GGUF",
            hint="save the model as a folder",
        )
    for linear in linear_layers(decoder_layers(model).modules):
        if linear.weight.shape[1] % BLOCK:
            raise ArgumentError(
                f"{linear.name} has {linear.weight.shape[1]} inputs", hint=f"GGUF needs a multiple of {BLOCK}"
            )


def write_gguf(model: Any, tokenizer: Any, path: str | Path, form: str, quantizer: Quantizer | None = None) -> int:
    """Write a Llama model and its byte-level tokenizer, atomically; returns the size of the file in bytes.

    Args:
        model: a causal language model of transformers.
        tokenizer: of the model.
        path: of the file.
        form: of the linear layers, of `FORMATS`.
        quantizer: what has rounded them.

    Raises:
        ArgumentError: as `check_exportable`.
    """
    from gguf import GGMLQuantizationType, GGUFWriter

    check_exportable(model, form)
    with atomic_file(path) as temporary:
        writer = GGUFWriter(temporary, ARCHITECTURE)
        _add_shape(writer, model.config)
        _add_tokenizer(writer, tokenizer, model.get_input_embeddings().weight.shape[0])
        for name, data, kind in _tensors(model, form, quantizer):
            writer.add_tensor(name, data, raw_dtype=None if kind is None else GGMLQuantizationType[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return Path(path).stat().st_size


def q4_1_blocks(codes: Tensor, step: Tensor, least: Tensor) -> np.ndarray:
    """Bytes of Q4_1, uint8 [rows, columns / 32 * 20].

    A block is float16 step, float16 minimum, and 16 bytes, of which byte i holds codes i (low half) and i + 16.

    Args:
        codes: integers 0 .. 15, [rows, columns].
        step: of each block, [rows, columns / 32].
        least: of each block, [rows, columns / 32].
    """
    rows, columns = codes.shape
    halves = codes.to(torch.uint8).view(rows, columns // BLOCK, 2, BLOCK // 2).numpy()
    packed = halves[:, :, 0] | (halves[:, :, 1] << 4)
    ends = [part.numpy().astype(np.float16)[..., None].view(np.uint8) for part in (step, least)]
    return np.concatenate([*ends, packed], -1).reshape(rows, -1)


def q8_0_blocks(codes: Tensor, step: Tensor) -> np.ndarray:
    """Bytes of Q8_0, uint8 [rows, columns / 32 * 34]: float16 step and 32 codes, integers -128 .. 127, for each block.

    Args:
        codes: [rows, columns].
        step: of each block, [rows, columns / 32].
    """
    rows, columns = codes.shape
    stored = codes.to(torch.int8).view(rows, columns // BLOCK, BLOCK).numpy().view(np.uint8)
    scale = step.numpy().astype(np.float16)[..., None].view(np.uint8)
    return np.concatenate([scale, stored], -1).reshape(rows, -1)


def _encoded(weight: Weight, form: str, quantizer: Quantizer | None) -> np.ndarray:
    """Bytes of a linear layer's weight."""
    from gguf import GGMLQuantizationType, quantize

    values = weight.values.detach().float().cpu()
    if not isinstance(quantizer, RoundToNearest) or not _holds(form, quantizer, values.shape[1]):
        return quantize(values.contiguous().numpy(), GGMLQuantizationType[form])
    levels = quantizer.levels(grouped(weight._replace(values=values), quantizer.group_size))
    rows, columns = values.shape
    blocks = [part.expand(len(levels.codes), levels.codes.shape[1] // BLOCK) for part in (levels.step, levels.least)]
    step, least = (part.reshape(rows, columns // BLOCK) for part in blocks)
    codes = levels.codes.reshape(rows, columns)
    return q4_1_blocks(codes, step, least) if form == "Q4_1" else q8_0_blocks(codes, step)


def _holds(form: str, quantizer: RoundToNearest, columns: int) -> bool:
    """Are the quantizer's levels among those of the format's blocks?"""
    if (quantizer.group_size or columns) % BLOCK:
        return False
    return quantizer.symmetric if form == "Q8_0" else not quantizer.symmetric and quantizer.bits <= 4


def _tensors(model: Any, form: str, quantizer: Quantizer | None) -> Iterator[tuple[str, np.ndarray, str | None]]:
    """(name in the file, bytes or numbers, format of the bytes) of every parameter; a tied head is left out."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH.LLAMA, model.config.num_hidden_layers)
    prefix, layers = decoder_layers(model)
    inside = {f"{linear.name}.weight" for linear in linear_layers(layers, prefix)}
    for name, parameter in model.named_parameters():
        values = _interleaved(name, parameter.detach(), model.config)
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if stored is None:
            raise ArgumentError(f"GGUF has no name for {name}", hint="save the model as a folder")
        if name in inside:
            yield stored, _encoded(Weight(name, values), form, quantizer), form
        elif values.dim() == 1:
            yield stored, values.float().cpu().numpy(), None
        else:
            yield stored, values.cpu().to(torch.float16).numpy(), None


def _interleaved(name: str, values: Tensor, config: Any) -> Tensor:
    """Rows of queries and keys in llama.cpp's order: it rotates neighbours where transformers rotates halves."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for part, count in heads.items():
        if f".{part}." in name:
            return values.reshape(count, 2, -1, *values.shape[1:]).transpose(1, 2).reshape(values.shape)
    return values


def _add_shape(writer: Any, config: Any) -> None:
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _add_tokenizer(writer: Any, tokenizer: Any, vocab_size: int) -> None:
    """Tokens, merges and special ids of a byte-level BPE tokenizer. Raises ArgumentError for other tokenizers."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    merges = content["model"].get("merges")
    if content["model"]["type"] != "BPE" or not merges:
        raise ArgumentError(
            f"a tokenizer of type {content['model']['type']} cannot be written as GGUF",
            hint="byte-level BPE can; save the model as a folder",
        )
    known = {index: token for token, index in tokenizer.get_vocab().items()}
    special = {added["id"] for added in content["added_tokens"] if added["special"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list([known.get(index, f"[PAD{index}]") for index in range(vocab_size)])
    writer.add_token_types([CONTROL if index in special else NORMAL for index in range(vocab_size)])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    for token, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if token is not None:
            add(token)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
