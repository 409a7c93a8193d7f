"""How good is an embedded default at the paper's scale? Made and measured on one GPU within eight minutes.

    studies/embedded/gpu_default.sh --train train.jsonl --validation validation.jsonl --output home --work /tmp/default
    studies/embedded/gpu_default.sh --toy --train train.jsonl --validation validation.jsonl --output home --work toy

Adapts SmolLM2 (its GGUF file, from --model or the cache) to CommonGen, samples a million sentences, makes a first HMM
of 4,096 states, trains it by EM, compresses it and writes sentences for CommonGen's validation sets with it, as it is
and compressed in eight ways. Every stage ends when its share of --seconds is over, with what it has, and is skipped
where the folder WORK holds its result: the same command goes on with a run that was stopped. OUTPUT gets what is to be
kept, as soon as it is there: adapter.safetensors, adapter_config.json, hmm.safetensors, hmm_config.json, log.json,
sentences.jsonl. --toy does all of it at a size for a laptop, on the CPU.
"""

from __future__ import annotations

import argparse
import copy
import gc
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any

import torch

from ctrlg import assets
from ctrlg.adaptation.adapters import ADAPTER_CONFIG, ADAPTER_WEIGHTS, merge_loaded
from ctrlg.adaptation.sentences import encode_sentences, end_of_text_id, read_sentences, split_groups
from ctrlg.adaptation.training import ADAPTER, AdaptationSettings, AdaptationStep, adapt
from ctrlg.devices import checked_device, fast_dtype
from ctrlg.distillation.pipeline import RECORD, distill
from ctrlg.distillation.pipeline_settings import DistillationSettings
from ctrlg.errors import DataError
from ctrlg.evaluation.benchmark_settings import BenchmarkSettings
from ctrlg.evaluation.concept_sets import read_concept_sets
from ctrlg.files.atomic import atomic_file, read_lines, write_json
from ctrlg.files.disk import writable_folder
from ctrlg.files.outputs import check_input_file
from ctrlg.loading.embedded import MEMBER
from ctrlg.loading.language_models import load_language_model
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser

ADAPTED, DISTILLED, EVALUATED = 0.22, 0.70, 0.985
"""Of the seconds: when a stage is to have ended. Estimates for an H100 and 465 s are in docs/gpu_default.md."""
MERGING_SECONDS = 8.0  # after the last step of adapting
GRID = ("float32", *(f"{method}:{bits}" for bits in (4, 8, 3, 2) for method in ("log-norm-q", "norm-q")))
SENTENCES = 10  # kept of a concept set: 9 settings of 200 sets are then 2 MB
PAUSE_SECONDS = 5.0  # between looks at running processes

FULL = {
    "seconds": 465.0,
    "rank": 16,
    "epochs": 3.0,
    "batch_size": 256,
    "learning_rate": 2e-3,
    "held_out": 1000,
    "states": 4096,
    "sequences": 1_000_000,
    "rows": 32_768,  # 25 GB of keys and values for 33 tokens, 3.2 GB of logits
    "embedded": 129_000,
    "soft_sequences": 258_000,
    "next_tokens": 8,
    "soft_steps": 40,
    "one_hot_steps": 12,
    "max_bytes": 8_000_000,
    "sets": 200,
    "beams": 128,
    "together": 8,
    "workers": 3,
}
TOY = FULL | {
    "seconds": 600.0,
    "rank": 4,
    "epochs": 0.0003,
    "batch_size": 8,
    "held_out": 8,
    "states": 32,
    "sequences": 150,
    "rows": 75,
    "embedded": 75,
    "soft_sequences": 75,
    "soft_steps": 2,
    "one_hot_steps": 2,
    "max_bytes": 600_000,
    "sets": 2,
    "beams": 4,
    "together": 2,
    "workers": 1,
}


class Job:
    """The options, the folders, and what is known of the stages so far."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.began = time.monotonic()
        self.work = writable_folder(options.work)
        self.output = writable_folder(options.output)
        self.record_file = self.work / "log.json"
        self.record: dict[str, Any] = {"seconds": {}}
        if self.record_file.is_file():
            self.record = json.loads(self.record_file.read_text(encoding="utf-8"))
        self.record["options"] = {name: str(value) for name, value in vars(options).items()}
        self.record.pop("failed", None)  # of an earlier start
        self.record["device"] = device_name(options.device)

    @property
    def adapted(self) -> Path:
        """Folder of the adapted language model."""
        return self.work / "model"

    @property
    def distilled(self) -> Path:
        """Folder of the job that makes the HMM."""
        return self.work / "distilled"

    def say(self, text: str) -> None:
        """A line of progress, with the seconds since the start."""
        say(f"[{time.monotonic() - self.began:6.1f} s] {text}")

    def left_until(self, share: float) -> float:
        """Seconds until a share of all is over; 1 at least, so that a late stage leaves something, too."""
        return max(1.0, share * self.options.seconds - (time.monotonic() - self.began))

    def keep(self) -> None:
        """Write down what is known so far, and bring it home."""
        write_json(self.record_file, self.record)
        write_json(self.output / "log.json", self.record)

    @contextmanager
    def stage(self, name: str, state: Callable[[Job], str] | None = None) -> Iterator[None]:
        """Tell when a stage begins and ends, and in between, now and then, how far it is."""
        started, ended = time.monotonic(), Event()
        self.say(f"{name} begins")
        watcher = Thread(target=self._watch, args=(name, state, ended), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ended.set()
            watcher.join()
            seconds = self.record["seconds"]
            seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - started, 1)
            self.say(f"{name} took {time.monotonic() - started:.1f} s")
            self.keep()

    def _watch(self, name: str, state: Callable[[Job], str] | None, ended: Event) -> None:
        while state is not None and not ended.wait(2 * PAUSE_SECONDS):
            self.say(f"{name}: {state(self)}")


def main() -> None:
    options = parse_arguments()
    check_options(options)
    signal.signal(signal.SIGTERM, stop)
    job = Job(options)
    model = base_model(options.model)
    try:
        if not (job.adapted / "config.json").is_file():
            with job.stage("adapting"):
                make_adapter(job, model)
        bring_home(job.work / "adapted" / ADAPTER, {ADAPTER_WEIGHTS: "adapter.safetensors"}, job)
        bring_home(job.work / "adapted" / ADAPTER, {ADAPTER_CONFIG: "adapter_config.json"}, job)
        give_back_memory()
        with job.stage("distilling", distilling_state):
            make_hmm(job)
        give_back_memory()  # to the processes that write sentences
        with job.stage("writing sentences", writing_state):
            write_sentences(job)
    finally:
        job.keep()
    summarise(job)
    if "failed" in job.record:
        sys.exit(1)


def make_adapter(job: Job, name: Path | str) -> None:
    """LoRA on CommonGen's sentences, then the adapted model as a folder."""
    options = job.options
    place = torch.device(options.device)
    # Short rows: on processors plain products are faster than the fused attention, on GPUs they are not.
    attention = {"attn_implementation": "eager"} if place.type == "cpu" else {}
    base, tokenizer = load_language_model(name, dtype=torch.float32, **attention)
    job.say("the language model is loaded")
    eos = end_of_text_id(tokenizer)
    training, held_out = split_groups(read_sentences(options.train), options.held_out)
    rows = [encode_sentences(tokenizer, sentences, eos) for sentences in (training, held_out)]
    trained = copy.deepcopy(base).to(place)
    for parameter in trained.parameters():  # not the buffers: positions want all their digits
        parameter.data = parameter.data.to(fast_dtype(place))
    settings = adaptation_settings(options, max(1.0, job.left_until(ADAPTED) - MERGING_SECONDS))

    def report(step: AdaptationStep) -> None:
        if step.held_out_loss is not None or step.step in (1, 10, 50):
            speed = f"{step.tokens_per_second:.0f} tokens/s"
            job.say(f"step {step.step} of {step.steps}: held-out loss {step.held_out_loss}, {speed}")

    result = adapt(trained, rows[0], rows[1], job.work / "adapted", settings, report=report)
    job.record["adaptation"] = {**result._asdict(), "log": read_lines(job.work / "adapted" / "log.jsonl")}
    merge_loaded(base, tokenizer, job.work / "adapted" / ADAPTER, job.adapted, eos)


def make_hmm(job: Job) -> None:
    """Sampling, first HMM, EM, compression: `ctrlg distill`."""
    settings = distillation_settings(job.options, job.adapted, job.distilled, job.left_until(DISTILLED))
    result = distill(settings)
    job.record["distillation"] = {
        **result.outcome._asdict(),
        "settings": {name: str(value) for name, value in asdict(settings).items()},
        "seconds": json.loads((job.distilled / RECORD).read_text(encoding="utf-8"))["seconds"],
        **{name: read_lines(job.distilled / name / "log.jsonl") for name in ("soft", "hmm")},
    }
    bring_home(result.folder, {"model.safetensors": "hmm.safetensors", "config.json": "hmm_config.json"}, job)
    job.say(f"dev and sizes: {result.outcome}")


def write_sentences(job: Job) -> None:
    """The benchmark, by several processes: a step of decoding keeps neither a processor nor the GPU busy alone."""
    options = job.options
    until = time.monotonic() + job.left_until(EVALUATED)
    results = [job.work / f"sentences.{part}.jsonl" for part in range(options.workers)]
    threads = max(1, (os.cpu_count() or 1) // options.workers)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    logs = [(job.work / f"writer.{part}.txt").open("w") for part in range(options.workers)]
    processes = [
        subprocess.Popen(benchmark_command(job, part, result), stdout=log, stderr=subprocess.STDOUT, env=environment)
        for part, (result, log) in enumerate(zip(results, logs, strict=True))
    ]
    try:
        while any(process.poll() is None for process in processes) and time.monotonic() < until:
            time.sleep(min(PAUSE_SECONDS, max(0.1, until - time.monotonic())))
            collect(job, results)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        for log in logs:
            log.close()
        collect(job, results)
    for part, process in enumerate(processes):
        if process.returncode not in (0, -signal.SIGTERM):
            tail = (job.work / f"writer.{part}.txt").read_text(errors="replace")[-2000:]
            job.say(f"writer {part} ended with {process.returncode}: {tail}")
            job.record["failed"] = [*job.record.get("failed", []), tail]


def benchmark_command(job: Job, part: int, result: Path) -> list[str]:
    """What writes a share of the sentences."""
    options = job.options
    given = {
        "hmm": job.distilled / "hmm" / "best",
        "model": job.adapted,
        "data": options.validation,
        "output": result,
        "beams": options.beams,
        "limit": options.sets,
        "together": options.together,
        "most_sentences": SENTENCES,
        "device": options.device,
        "seconds": job.left_until(EVALUATED),
        "part": part,
        "parts": options.workers,
    }
    script = Path(__file__).resolve().parents[2] / "scripts" / "test_benchmark.py"
    return [sys.executable, str(script), "--grid", *GRID, *(f"--{name}={value}" for name, value in given.items())]


def collect(job: Job, results: list[Path]) -> None:
    """Bring home all lines that are there."""
    lines = [line for result in results for line in read_lines(result)]
    with atomic_file(job.output / "sentences.jsonl") as file:
        file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def summarise(job: Job) -> None:
    """Constraints kept, log-probability and bytes of every setting, over the concept sets that all of them have."""
    settings: dict[tuple[str, int], dict[int, dict[str, Any]]] = {}
    for line in read_lines(job.output / "sentences.jsonl"):
        settings.setdefault((line["method"], line["bits"]), {})[line["concept_set_idx"]] = line
    shared = set.intersection(*(set(lines) for lines in settings.values())) if len(settings) == len(GRID) else set()
    for (method, bits), lines in settings.items():
        chosen = [lines[number] for number in shared]
        if chosen:
            score = statistics.mean(line["log_prob"] for line in chosen)
            kept = sum(line["kept"] for line in chosen)
            size = chosen[0]["bytes"]
            job.say(f"{method} {bits}: {kept}/{len(chosen)} kept, {score:.3f} nats per token, {size:,} bytes")
    job.say(f"{len(shared)} concept sets with all {len(GRID)} settings; {job.output} holds what is to be kept")


def bring_home(folder: Path, names: dict[str, str], job: Job) -> None:
    """Copy files, under other names."""
    for name, new_name in names.items():
        with atomic_file(job.output / new_name) as file:
            shutil.copyfile(folder / name, file)


def base_model(name: str) -> Path | str:
    """The language model to adapt: as named, else the file in the cache. Raises DataError where it is not there."""
    if name:
        return check_input_file(name, "--model") if name.endswith(".gguf") else name
    return check_input_file(assets.cache_folder() / Path(MEMBER).name, "the language model")


def device_name(device: str) -> str:
    """What the log calls the device."""
    return torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else device


def give_back_memory() -> None:
    """What is not held any more goes back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def distilling_state(job: Job) -> str:
    """How much has been sampled, and the last step of EM."""
    drawn = len([*(job.distilled / "samples").glob("data.train.*.next_tokens")])
    steps = [line for folder in ("soft", "hmm") for line in read_lines(job.distilled / folder / "log.jsonl")]
    last = steps[-1] if steps else {}
    return f"{drawn} files of samples; step {last.get('step')} of EM: dev {last.get('dev_per_token')}"


def writing_state(job: Job) -> str:
    """How many lines are written."""
    return f"{len(read_lines(job.output / 'sentences.jsonl'))} of {len(GRID) * job.options.sets} sentences"


def stop(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the program as an exception does: what is known is written down. It may come twice, from `timeout`
    to this process and to its group."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def adaptation_settings(options: argparse.Namespace, seconds: float) -> AdaptationSettings:
    return AdaptationSettings(
        rank=options.rank,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        epochs=options.epochs,
        evaluate_every=250,
        seed=options.seed,
        seconds=seconds,
    )


def distillation_settings(
    options: argparse.Namespace, model: Path, output: Path, seconds: float
) -> DistillationSettings:
    return DistillationSettings(
        model=str(model),
        output=output,
        hidden_states=options.states,
        sequences=options.sequences,
        held_out=max(20, min(2000, options.sequences // 10)),
        soft_steps=options.soft_steps,
        one_hot_steps=options.one_hot_steps,
        next_tokens=options.next_tokens,
        max_bytes=options.max_bytes,
        batch_size=options.rows,
        seed=options.seed,
        device=options.device,
        embedded_sequences=options.embedded,
        soft_sequences=options.soft_sequences,
        seconds=seconds,
    )


def check_options(options: argparse.Namespace) -> None:
    """Refuse what cannot be done before anything is begun."""
    checked_device(options.device)
    adaptation_settings(options, options.seconds)
    distillation_settings(options, Path(), Path(), options.seconds)
    named = {name: getattr(options, name) for name in ("beams", "together", "device", "seconds")}
    BenchmarkSettings("", "", "", "", limit=options.sets, parts=options.workers, **named)
    check_input_file(options.train, "--train")
    check_input_file(options.validation, "--validation")
    base_model(options.model)
    read_concept_sets(options.validation, options.sets)
    if Path(options.output).resolve() == Path(options.work).resolve():
        raise DataError("--output and --work are one folder", hint="what is kept, and what is worked with")


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--model", default="", help="GGUF file or folder of the language model (the file in the cache)")
    parser.add_argument("--train", required=True, help="CommonGen's train.jsonl: sentences in `references`")
    parser.add_argument("--validation", required=True, help="CommonGen's validation.jsonl: concept sets")
    parser.add_argument("--output", required=True, help="folder of what is to be kept")
    parser.add_argument("--work", required=True, help="folder of everything else, some 10 GB")
    parser.add_argument("--device", default=None, help="cuda, or cpu with --toy")
    parser.add_argument("--toy", action="store_true", help="small sizes, for a CPU")
    parser.add_argument("--seed", type=int, default=0)
    names = {
        "seconds": "for everything",
        "rank": "of the adapter",
        "epochs": "of adapting",
        "batch_size": "sentences of a step of adapting",
        "learning_rate": "peak, of adapting",
        "held_out": "sentences that choose the adapter",
        "states": "of the HMM",
        "sequences": "to sample",
        "rows": "sampled at once",
        "embedded": "sequences that the first HMM is made of",
        "soft_sequences": "read by a step of EM with soft counts",
        "next_tokens": "of the next-token distribution a place",
        "soft_steps": "of EM, at most",
        "one_hot_steps": "of EM, at most",
        "max_bytes": "of the compressed HMM",
        "sets": "concept sets to write",
        "beams": "of the search",
        "together": "concept sets of one search",
        "workers": "processes that write sentences",
    }
    for name, text in names.items():
        shown = f"{text} ({FULL[name]}, toy {TOY[name]})"
        parser.add_argument(f"--{name}", type=type(FULL[name]), default=None, help=shown)
    options = parser.parse_args()
    options.device = options.device or ("cpu" if options.toy else "cuda")
    for name, value in (TOY if options.toy else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


if __name__ == "__main__":
    with as_program():
        main()
