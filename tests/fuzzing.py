"""Damaged checkpoints by seed: every load must refuse with a CtrlGError and a hint, or give a model that works.

    python tests/fuzzing.py --mutants 1000 --seed 0

Four kinds are damaged: an HMM in Ctrl-G's format, a compressed HMM, a language model's folder, and a GGUF file. Each
mutant is loaded in a process that reports how much memory it took; more than 3 GB, more than a minute, another error
or a model that gives no finite numbers is a fault.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOST_BYTES = 3 << 30
MOST_SECONDS = 60.0
HOSTILE = (
    -1, 0, 1, 5, 2**31, 2**63, 10**8, 10**30, 1e30, -1e300, 0.5, True, False, None, "", "x" * 70, "1", "\ud800", [],
    {}, [[]], [10**9, 10**9], {"a": 1}, float("nan"), float("inf"),
)  # fmt: skip
KINDS = ("hmm", "compressed", "language-model", "gguf")


def make_checkpoints(folder: Path) -> None:
    """One whole checkpoint of every kind."""
    import numpy as np
    from gguf import GGUFWriter
    from helpers.random_inputs.hmms import random_hmm
    from helpers.tiny_models import tiny_language_model, tiny_tokenizer

    from ctrlg.quantization import quantize

    hmm = random_hmm(8, 60, spread=3.0)
    hmm.save_pretrained(folder / "hmm")
    quantize(hmm, "log-norm-q", 4, threshold=1e-4).save_pretrained(folder / "compressed")
    tokenizer: Any = tiny_tokenizer()
    model = tiny_language_model(len(tokenizer), eos_token_id=tokenizer.eos_token_id)
    model.save_pretrained(folder / "language-model")
    tokenizer.save_pretrained(folder / "language-model")
    (folder / "gguf").mkdir()
    writer = GGUFWriter(folder / "gguf" / "model.gguf", "llama")
    numbers = {"block_count": 1, "context_length": 64, "embedding_length": 16, "feed_forward_length": 32}
    for name, value in numbers.items():
        writer.add_uint32(f"llama.{name}", value)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(len(tokenizer))
    writer.add_tokenizer_model("gpt2")
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token == tokenizer.eos_token else 1 for token in tokens])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    for name, tensor in _gguf_names(model).items():
        writer.add_tensor(name, np.ascontiguousarray(tensor.detach().float().numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_names(model: Any) -> dict[str, Any]:
    """llama.cpp's names for the tensors of a tiny Llama of one layer."""
    layer = model.model.layers[0]
    return {
        "token_embd.weight": model.model.embed_tokens.weight,
        "output_norm.weight": model.model.norm.weight,
        "output.weight": model.lm_head.weight,
        "blk.0.attn_norm.weight": layer.input_layernorm.weight,
        "blk.0.ffn_norm.weight": layer.post_attention_layernorm.weight,
        **{f"blk.0.attn_{name}.weight": getattr(layer.self_attn, f"{name}_proj").weight for name in "qkv"},
        "blk.0.attn_output.weight": layer.self_attn.o_proj.weight,
        **{f"blk.0.ffn_{name}.weight": getattr(layer.mlp, f"{name}_proj").weight for name in ("gate", "up", "down")},
    }


def damage(folder: Path, chance: random.Random) -> str:
    """Change the checkpoint in one or two ways; says how."""
    done = []
    for _ in range(chance.choice((1, 1, 2))):
        files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != "README.md")
        if not files:
            break
        file = chance.choice(files)
        kinds: list[Callable[[Path, random.Random], str]] = [_flip, _cut, _insert, _replace]
        if file.suffix == ".json":
            kinds += [_edit_json] * 8
        if file.suffix == ".safetensors":
            kinds += [_edit_header] * 8
        done.append(f"{file.name}: {chance.choice(kinds)(file, chance)}")
    return "; ".join(done)


def _flip(file: Path, chance: random.Random) -> str:
    data = bytearray(file.read_bytes())
    places = [
        chance.randrange(min(len(data), chance.choice((32, 4096, 1 << 30)))) for _ in range(chance.choice((1, 4, 64)))
    ]
    for place in places if data else []:
        data[place] = chance.randrange(256)
    file.write_bytes(data)
    return f"bytes {places[:4]} changed"


def _cut(file: Path, chance: random.Random) -> str:
    data = file.read_bytes()
    length = chance.randrange(len(data) + 1)
    file.write_bytes(data[:length])
    return f"cut to {length} bytes"


def _insert(file: Path, chance: random.Random) -> str:
    data = file.read_bytes()
    place, count = chance.randrange(len(data) + 1), chance.choice((1, 8, 1000))
    file.write_bytes(data[:place] + chance.randbytes(count) + data[place:])
    return f"{count} bytes inserted at {place}"


def _replace(file: Path, chance: random.Random) -> str:
    name = file.name
    others = [other for other in sorted(file.parent.iterdir()) if other.is_file()]
    what = chance.choice(("empty", "lfs", "folder", "fifo", "loop", "other", "utf-16", "nested", "device", "gone"))
    content = file.read_bytes()
    file.unlink()
    if what == "folder":
        file.mkdir()
    elif what == "fifo":
        os.mkfifo(file)
    elif what == "loop":
        file.symlink_to(name)
    elif what == "device":
        file.symlink_to("/dev/zero")
    elif what == "other":
        file.write_bytes(chance.choice([other for other in others if other != file] or [Path(__file__)]).read_bytes())
    elif what != "gone":
        texts = {
            "empty": b"",
            "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "utf-16": content.decode("latin-1").encode("utf-16"),
            "nested": b'{"a":' * 100_000,
        }
        file.write_bytes(texts[what])
    return f"replaced by {what}"


def _edit_json(file: Path, chance: random.Random) -> str:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return "left alone"
    keys, place = [], content
    while isinstance(place, (dict, list)) and len(place):
        key = chance.choice(sorted(place, key=str)) if isinstance(place, dict) else chance.randrange(len(place))
        keys.append(key)
        if not isinstance(place[key], (dict, list)) or chance.random() < 0.3:
            break
        place = place[key]
    if not keys or not isinstance(place, (dict, list)):
        return "left alone"
    value = chance.choice((*HOSTILE, "remove"))
    if value == "remove":
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    file.write_text(json.dumps(content))
    return f"{keys} set to {str(value)[:40]!r}"


def _edit_header(file: Path, chance: random.Random) -> str:
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError:
        return "left alone"
    name = chance.choice(sorted(header))
    field = chance.choice(("dtype", "shape", "data_offsets", "name", "remove"))
    entry = header[name]
    if field == "remove" or not isinstance(entry, dict) or "shape" not in entry:
        del header[name]
    elif field == "name":
        header[name + "x"] = header.pop(name)
    elif field == "dtype":
        entry["dtype"] = chance.choice(("F64", "F16", "BF16", "I32", "U8", "F4", "F8_E4M3", "BOOL", "", None, 7))
    elif entry[field]:
        entry[field][chance.randrange(len(entry[field]))] = chance.choice(HOSTILE)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    return f"header, {name}: {field}"


def try_loading(kind: str, folder: Path) -> str:
    """ "refused", "valid", or what is wrong."""
    import torch

    from ctrlg.errors import CtrlGError
    from ctrlg.loading import load_hmm
    from ctrlg.loading.language_models import load_language_model

    try:
        if kind in ("hmm", "compressed"):
            hmm = load_hmm(folder)
            likelihood = hmm.log_likelihood(torch.arange(min(4, hmm.vocab_size))[None])
            return "valid" if not bool(likelihood.isnan().any()) else "a likelihood is not a number"
        model, _ = load_language_model(folder / "model.gguf" if kind == "gguf" else folder)
        with torch.no_grad():
            logits = model(torch.tensor([[0, 1, 2]])).logits
        return "valid" if bool(logits.isfinite().all()) else "a logit is not finite"
    except CtrlGError as error:
        return "refused" if error.hint else f"no hint: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"


def _work(source: Path, numbers: list[int], seed: int, results: Any) -> None:
    """Load these mutants one after another; put (number, kind, how, outcome, bytes, seconds) of each."""
    import logging

    import torch

    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (of the process, to its end)
    os.dup2(sys.stderr.fileno(), 2)
    for number in numbers:
        chance = random.Random(seed * 1_000_003 + number)
        kind = KINDS[number % len(KINDS)]
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(shutil.copytree(source / kind, Path(temporary) / kind))
            how = damage(folder, chance)
            results.put((number, kind, how, None, 0, 0.0))
            Path("/proc/self/clear_refs").write_text("5")  # resets the peak of resident memory
            before, started = _status("VmRSS"), time.monotonic()
            outcome = try_loading(kind, folder)
            results.put((number, kind, how, outcome, _status("VmHWM") - before, time.monotonic() - started))


def _status(name: str) -> int:
    """A memory figure of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name))


def fuzz(mutants: int, seed: int, first: int = 0) -> tuple[Counter[str], list[str]]:
    """How many mutants were refused and valid, and a line for every fault."""
    context = multiprocessing.get_context("spawn")
    counts: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        make_checkpoints(Path(temporary))
        left = list(range(first, first + mutants))
        while left:
            results = context.Queue()
            worker = context.Process(target=_work, args=(Path(temporary), left, seed, results))
            worker.start()
            last = None
            while left:
                try:
                    number, kind, how, outcome, size, seconds = results.get(timeout=MOST_SECONDS * 2)
                except Exception:  # the queue is empty: the process hangs or is gone
                    faults.append(f"{last}: hangs, or ended the process")
                    left.remove(left[0])
                    worker.kill()
                    break
                last = f"mutant {number} ({kind}; {how})"
                if outcome is None:
                    continue
                left.remove(number)
                counts[f"{kind}: {outcome}" if outcome in ("refused", "valid") else "fault"] += 1
                if outcome not in ("refused", "valid"):
                    faults.append(f"{last}: {outcome}")
                if size > MOST_BYTES or seconds > MOST_SECONDS:
                    faults.append(f"{last}: took {size >> 20} MiB and {seconds:.0f} s")
            worker.join()
    return counts, faults


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant (%(default)s)")
    arguments = parser.parse_args()
    counts, faults = fuzz(arguments.mutants, arguments.seed, arguments.first)
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")
    print(*faults, sep="\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
