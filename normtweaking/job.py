"""One tweaked model from beginning to end: calibration texts, quantisation, repair, folder, GGUF file, perplexities."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from ctrlg.errors import ArgumentError, DataError
from ctrlg.files.atomic import read_lines
from ctrlg.files.disk import writable_file
from ctrlg.files.folders import TWEAKED_FOLDER, check_folder
from ctrlg.files.locks import Lock
from ctrlg.files.outputs import check_input_file, check_output_file
from ctrlg.loading.language_models import load_language_model
from ctrlg.loading.opening import weights_digest
from normtweaking.grid import Grid, grid_search, table_of
from normtweaking.measured import Measured, MeasuredText
from normtweaking.rounding.export import FORMATS, check_exportable, write_gguf
from normtweaking.rounding.quantizers import KMeans, Precomputed, Quantizer, RoundToNearest, quantize_model
from normtweaking.texts.calibration import CalibrationData, calibration_from_text, text_ends
from normtweaking.texts.generation import generate_calibration
from normtweaking.texts.settings import CalibrationSettings, Texts
from normtweaking.tweaking.settings import LayerTweak, TweakResult, TweakSettings
from normtweaking.tweaking.tweaker import RESULT_FILE, ModelTweaker

QUANTIZERS = ("rtn", "k-means", "file")
Say = Callable[[str], None]


@dataclass(frozen=True)
class TweakJob:
    """What to do.

    Attributes:
        model: id, folder, or .gguf file.
        output: folder of the tweaked model.
        quantizer: of the linear layers.
        settings: how to tweak.
        texts: what to tweak on.
        grid: points to choose from; none where it is empty.
        embeddings: quantise these too.
        head: quantise these too.
        gguf: format of a file OUTPUT.gguf beside the folder; none where empty.
        perplexity: text to measure all models on at the end.
        device: of the model.
        grid_text: whose perplexity chooses the point; where there is none, the divergence on held-out texts does.
    """

    model: str
    output: str
    quantizer: Quantizer
    settings: TweakSettings = field(default_factory=TweakSettings)
    texts: Texts = Texts()  # noqa: RUF009
    grid: Grid = Grid((), ())  # noqa: RUF009
    embeddings: bool = False
    head: bool = False
    gguf: str = ""
    perplexity: Measured = Measured()  # noqa: RUF009
    device: str = "cpu"
    grid_text: Measured = Measured()  # noqa: RUF009


def quantizer_of(kind: str, bits: int, group_size: int | None, symmetric: bool, weights: str) -> Quantizer:
    """The quantizer of a name in `QUANTIZERS`.

    Args:
        kind: a key of `QUANTIZERS`.
        bits: of a value.
        group_size: entries that share a step; a whole channel where None.
        symmetric: levels around 0.
        weights: file of rounded weights.

    Raises:
        ArgumentError: another name, and as the quantizers.
    """
    if kind not in QUANTIZERS:
        raise ArgumentError(f"the quantizer {kind!r} is unknown", hint=f"one of: {', '.join(QUANTIZERS)}")
    if kind == "file":
        if not weights:
            raise ArgumentError("--quantizer file without --weights", hint="name a safetensors file")
        return Precomputed(weights)
    return KMeans(bits, group_size) if kind == "k-means" else RoundToNearest(bits, group_size, symmetric)


def tweak_model(job: TweakJob, say: Say) -> None:
    """Do the job.

    What can be refused is refused before any work.

    Args:
        job: what to do.
        say: told what happens, a line at a time.

    Raises:
        CtrlGError: as all that it calls.
    """
    _check_files(job)
    _check_outputs(job)
    with Lock(job.output, f"tweaking a model for {job.output}", name="job"):
        _tweak(job, say)


def _check_outputs(job: TweakJob) -> None:
    """Raise ArgumentError where an output would replace something that is read, or that is not ours."""
    read = (job.model, job.texts.data, job.texts.text, job.perplexity.text, getattr(job.quantizer, "path", ""))
    sources = [Path(source) for source in read if source]
    check_folder(job.output, TWEAKED_FOLDER, sources)
    gguf = Path(_beside(job, ".gguf"))
    if not job.gguf or not writable_file(gguf).exists():
        return
    if any(source.exists() and source.samefile(gguf) for source in sources):
        raise ArgumentError(f"{gguf} would replace what it is made of", hint="choose another output")
    if not (Path(job.output) / RESULT_FILE).is_file():
        raise ArgumentError(f"{gguf} is there, and no tweaked model beside it", hint="choose another output")


def _tweak(job: TweakJob, say: Say) -> None:
    model, tokenizer = _load(job)
    ModelTweaker(model, job.quantizer, job.settings, job.embeddings, job.head)
    if job.gguf:
        check_exportable(model, job.gguf)
    if job.grid_text.text and not any(job.grid):
        raise ArgumentError(
            f"{job.grid_text.text} chooses a point of a grid, and there is no grid",
            hint="give learning rates or scales to try; --perplexity measures without choosing",
        )
    chooser, measure = (
        MeasuredText(measured, model, tokenizer) if measured.text else None
        for measured in (job.grid_text, job.perplexity)
    )
    data = _calibration(job, model, tokenizer)
    if any(job.grid):
        _search(job, tokenizer, data, _name_of_run(job, model, data, chooser), chooser, say)
    else:
        tweaker = _tweaker(job, job.settings)
        result = tweaker.run(*_split(job, data), *_reports(job, say))
        _keep(job, tweaker, tokenizer, result, data, say)
    say(f"{sum(file.stat().st_size for file in Path(job.output).iterdir()):,} bytes in {job.output}")
    if job.gguf:
        _write_gguf(job, say)
    if measure:
        _say_perplexities(job, measure, say)


def _search(
    job: TweakJob, tokenizer: Any, data: CalibrationData, run: str, chooser: MeasuredText | None, say: Say
) -> None:
    """Try the points of the grid, and leave the best model in place."""
    grid = Grid(job.grid.learning_rates or [job.settings.learning_rate], job.grid.scales or [job.settings.scale])
    results = _beside(job, ".grid.jsonl")
    known = any(line.get("run") == run for line in read_lines(results))
    if known and not Path(job.output).is_dir():
        raise DataError(
            f"{results} has points of this search, but their best model, {job.output}, is missing",
            hint=f"remove {results} to search again",
        )

    def make(point: TweakSettings) -> ModelTweaker:
        say(f"lr {point.learning_rate:g}, scale {point.scale:g}")
        return _tweaker(job, point)

    points = grid_search(
        make,
        *_split(job, data),
        job.settings,
        grid,
        results,
        run,
        lambda tweaker, result: _keep(job, tweaker, tokenizer, result, data, say),
        *_reports(job, say),
        chooser.perplexity if chooser else None,
    )
    for line in table_of(points):
        say(line)
    # An earlier call with another grid may have found a better one, so the folder itself is asked.
    best = json.loads((Path(job.output) / RESULT_FILE).read_text(encoding="utf-8"))["settings"]
    say(f"best: lr {best['learning_rate']:g}, scale {best['scale']:g}, in {job.output}")


def _tweaker(job: TweakJob, settings: TweakSettings) -> ModelTweaker:
    return ModelTweaker(_load(job)[0], job.quantizer, settings, job.embeddings, job.head)


def _split(job: TweakJob, data: CalibrationData) -> tuple[CalibrationData, CalibrationData]:
    """(texts to tweak on, texts to judge by)."""
    return data.split(job.texts.held_out) if job.texts.held_out else (data, data)


def _reports(job: TweakJob, say: Say) -> tuple[Callable[[LayerTweak], None], Callable[[int, float | None], None]]:
    """What to call after each layer, and after each pass end to end."""

    def show(layer: LayerTweak) -> None:
        kept = "" if layer.kept else ", not kept"
        say(f"{layer.name}: loss {layer.loss_before:.4g} -> {layer.loss_after:.4g}{kept}")

    def passed(number: int, found: float | None) -> None:
        say(f"pass {number} of {job.settings.iterations}" + ("" if found is None else f": KL {found:.5f}"))

    return show, passed


def _keep(
    job: TweakJob, tweaker: ModelTweaker, tokenizer: Any, result: TweakResult, data: CalibrationData, say: Say
) -> None:
    kept = "" if result.kept else "; worse, so the norms stay as they were"
    say(f"KL {result.score_quantized:.5f} quantised, {result.score_tweaked:.5f} tweaked (nats per token){kept}")
    tweaker.save(job.output, tokenizer, result, calibration=data.description)


def _check_files(job: TweakJob) -> None:
    """Raise what files to read and to write would raise, while there is nothing to lose."""
    if job.gguf and job.gguf not in FORMATS:
        raise ArgumentError(f"the GGUF format {job.gguf!r} is unknown", hint=f"one of: {', '.join(FORMATS)}")
    for suffix in [".gguf"] * bool(job.gguf) + [".grid.jsonl"] * any(job.grid):
        check_output_file(_beside(job, suffix))
    texts = job.texts
    measured = (("--perplexity", job.perplexity.text), ("--perplexity-text", job.grid_text.text))
    for name, file in (("--data", texts.data), ("--text", texts.text), *measured):
        if file:
            check_input_file(file, name)
    if not texts.data and not texts.held_out < texts.samples:
        raise ArgumentError(f"{texts.held_out} of {texts.samples} samples held out", hint="leave some to tweak on")


def _load(job: TweakJob) -> tuple[Any, Any]:
    return load_language_model(job.model, job.device, torch.float32)


def _beside(job: TweakJob, suffix: str) -> str:
    return f"{Path(job.output)}{suffix}"


def _calibration(job: TweakJob, model: Any, tokenizer: Any) -> CalibrationData:
    texts = job.texts
    if texts.data:
        ends = text_ends(model) | {tokenizer.eos_token_id, tokenizer.pad_token_id}
        return CalibrationData.load(texts.data).without_padding(ends)
    if texts.text:
        return calibration_from_text(tokenizer, texts.text, texts.samples, texts.length, texts.seed)
    settings = CalibrationSettings(texts.samples, texts.length, texts.languages, seed=texts.seed)
    return generate_calibration(model, tokenizer, settings, _beside(job, ".calibration"))


def _name_of_run(job: TweakJob, model: Any, data: CalibrationData, chooser: MeasuredText | None) -> str:
    """Digest of all that the points of a grid have in common, what they are compared by included."""
    shared = {name: value for name, value in asdict(job.settings).items() if name not in ("learning_rate", "scale")}
    outside = (job.embeddings, job.head, job.texts.held_out)
    identity = [weights_digest(model), job.quantizer.describe(), shared, data.digest(), outside]
    identity += [chooser.identity()] if chooser else []
    return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]


def _write_gguf(job: TweakJob, say: Say) -> None:
    path = _beside(job, ".gguf")
    size = write_gguf(*load_language_model(job.output), path, job.gguf, job.quantizer)
    say(f"{size:,} bytes in {path} ({job.gguf})")


def _say_perplexities(job: TweakJob, measure: MeasuredText, say: Say) -> None:
    """Of the float, the quantised and the tweaked model, of the GGUF file, and the share of the loss won back."""
    sources = {"float": job.model, "quantised": job.model, "tweaked": job.output}
    sources |= {f"tweaked, {job.gguf}": _beside(job, ".gguf")} if job.gguf else {}
    found = {}
    for name, source in sources.items():
        model = load_language_model(source, job.device, torch.float32)[0]
        if name == "quantised":
            quantize_model(model, job.quantizer, job.embeddings, job.head)
        found[name] = measure.perplexity(model)
        say(f"perplexity {found[name]:.3f} {name}")
    recovered = (found["quantised"] - found["tweaked"]) / (found["quantised"] - found["float"])
    say(f"recovered {100 * recovered:.1f} % of the perplexity that quantisation lost")
