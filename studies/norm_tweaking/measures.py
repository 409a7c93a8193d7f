"""How much of the perplexity that quantisation loses comes back, for schemes, ways to tweak, sizes and seeds.

    recovered = (quantised - tweaked) / (quantised - float)                        of perplexities on the same text

Every measurement is a line of a file of JSON lines and is not made again. Learning rate and scale are chosen by the
score on held-out calibration texts of the first seed, never by the text that perplexity is measured on; so is whether
tweaked norms are kept at all, for every seed by its own held-out texts.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ctrlg.arguments import Positive, TwoOrMore, checked
from ctrlg.errors import ArgumentError
from ctrlg.loading.opening import weights_digest
from normtweaking.grid import Grid, grid_search
from normtweaking.perplexity import sliding_window_perplexity
from normtweaking.rounding.quantizers import RoundToNearest, check_fits, quantize_model
from normtweaking.structure import norms
from normtweaking.texts.calibration import CalibrationData
from normtweaking.texts.generation import CalibrationSettings, generate_calibration
from normtweaking.tweaking.settings import BOTH, CLOSED_FORMS, END_TO_END, LAYERS, TweakResult, TweakSettings
from normtweaking.tweaking.tweaker import ModelTweaker
from studies.norm_tweaking.layer_deltas import LayerDeltas, layer_deltas, layer_moments

COLUMNS = ("text", "bits", "group_size", "way", "passes", "samples", "length", "seed")
BATCH = 32  # calibration texts written at once
LAYER_GRID, END_TO_END_GRID = Grid((1e-4, 1e-3), (1.0,)), Grid((3e-3, 1e-2), (0.0,))
FLOAT, QUANTIZED = "float", "quantised"  # what stands in `way` for a model that is not tweaked


class Scheme(NamedTuple):
    """Asymmetric round to nearest. group_size: None for whole channels."""

    bits: int
    group_size: int | None

    @classmethod
    def parse(cls, text: str) -> Scheme:
        """Of "4" (per channel) or "4:64" (groups of 64). Raises ArgumentError for anything else."""
        bits, colon, size = text.partition(":")
        if not bits.isdecimal() or size.isdecimal() != bool(colon):
            raise ArgumentError(f"{text!r} is no scheme", hint='such as "4" (per channel) or "4:64" (groups)')
        scheme = cls(int(bits), int(size) if size else None)
        scheme.quantizer()
        return scheme

    def quantizer(self) -> RoundToNearest:
        """Raises ArgumentError for bits and group sizes out of range."""
        return RoundToNearest(self.bits, self.group_size)

    def __str__(self) -> str:
        return f"{self.bits} bits, " + ("per channel" if self.group_size is None else f"groups of {self.group_size}")


class Way(NamedTuple):
    """How norms are tweaked: a loss and a scope of `TweakSettings`. The loss of a scope "end-to-end" is "kl"."""

    loss: str
    scope: str

    @classmethod
    def parse(cls, text: str) -> Way:
        """Of "distribution", "end-to-end" or "least-squares+end-to-end". Raises ArgumentError for anything else."""
        loss, _, then = text.partition("+")
        way = cls("kl", END_TO_END) if text == END_TO_END else cls(loss, BOTH if then == END_TO_END else LAYERS)
        if then not in ("", END_TO_END) or (way.scope == BOTH and loss not in CLOSED_FORMS):
            raise ArgumentError(
                f"{text!r} is no way to tweak", hint=f"a loss, {END_TO_END!r}, or a closed form +{END_TO_END}"
            )
        way.settings(1, 1)
        return way

    def settings(self, passes: int, batch_size: int) -> TweakSettings:
        """passes: over the texts, end to end; layers have one. Raises ArgumentError for an unknown loss."""
        iterations = 1 if self.scope == LAYERS else passes
        plain = TweakSettings(scope=self.scope, iterations=iterations, batch_size=batch_size)
        return plain if self.scope == END_TO_END else replace(plain, loss=self.loss)

    def __str__(self) -> str:
        return {LAYERS: self.loss, BOTH: f"{self.loss}+{END_TO_END}", END_TO_END: END_TO_END}[self.scope]


@checked
@dataclass(frozen=True)
class StudySettings:
    """held_out: samples that judge, beside those tweaked on. length: tokens of a sample. passes: end to end, at most.
    batch_size: samples of a step. layer_grid, end_to_end_grid: what learning rate and scale are chosen from.
    window, stride: of the perplexity, tokens. Raises ArgumentError for values out of range.
    """

    held_out: Positive = 8
    length: TwoOrMore = 128
    passes: Positive = 4
    batch_size: Positive = 4
    layer_grid: Grid = LAYER_GRID
    end_to_end_grid: Grid = END_TO_END_GRID
    window: Positive = 512
    stride: Positive = 256

    def grid(self, way: Way) -> Grid | None:
        """None where nothing has a learning rate."""
        if way.scope != LAYERS:
            return self.end_to_end_grid
        return None if way.loss in CLOSED_FORMS else self.layer_grid


class Wanted(NamedTuple):
    """What is measured: all combinations. samples: numbers of texts. seeds: of the texts."""

    schemes: Sequence[Scheme]
    ways: Sequence[Way]
    samples: Sequence[int]
    seeds: Sequence[int]


class NormMeasures:
    """Measurements on one model and one text.

    model: a causal decoder of transformers, float32; it is changed, and restored between measurements. tokens: of the
    text, int64 [N]. output: file of results; calibration texts and searches are kept beside it. say: told of every pass
    end to end. Raises ArgumentError for a scheme that does not fit the model.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        tokens: Tensor,
        settings: StudySettings,
        wanted: Wanted,
        output: str | Path,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        for scheme in wanted.schemes:
            check_fits(model, scheme.quantizer())
        self.settings = settings
        self._wanted, self._output, self._say = wanted, output, say
        self.model, self._tokenizer, self._tokens = model, tokenizer, tokens
        self._float = {parameter: parameter.detach().clone() for parameter in model.parameters()}
        self._best: _Best | None = None
        identity = [weights_digest(model), tokens.tolist(), settings.window, settings.stride]
        self._text = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]

    def combinations(self) -> list[tuple[Any, ...]]:
        """COLUMNS of all combinations, and of the models that they are compared with."""
        found: list[tuple[Any, ...]] = [(self._text, None, None, FLOAT, 0, 0, 0, 0)]
        for scheme in self._wanted.schemes:
            found.append((self._text, *scheme, QUANTIZED, 0, 0, 0, 0))
            for way, count, seed in product(self._wanted.ways, self._wanted.samples, self._wanted.seeds):
                passes = way.settings(self.settings.passes, 1).iterations
                found.append((self._text, *scheme, str(way), passes, count, self.settings.length, seed))
        return found

    def measure(self, key: tuple[Any, ...]) -> dict[str, Any]:
        """The values of a line. Raises as `generate_calibration` and `ModelTweaker`."""
        _, bits, group_size, way, _, count, _, seed = key
        data = self._data  # written first, and not in the time of a line
        began = time.perf_counter()
        self._restore()
        if way in (FLOAT, QUANTIZED):
            if way == QUANTIZED:
                quantize_model(self.model, Scheme(bits, group_size).quantizer())
            values = self._perplexity()
        else:
            values = self._tweaked(Scheme(bits, group_size), Way.parse(way), count, data, seed)
        return {**values, "seconds": round(time.perf_counter() - began, 1)}

    def layer_deltas(self) -> tuple[LayerDeltas, LayerDeltas, str]:
        """How far the layers are off, quantized and tweaked, on held-out texts, for the first of all that is wanted;
        which scheme and way that is."""
        schemes, ways, samples, seeds = self._wanted
        scheme, way, count, seed = schemes[0], ways[0], samples[0], seeds[0]
        texts = self.held_out(count, seed)
        exact = layer_moments(self.model, texts)
        quantize_model(self.model, scheme.quantizer())
        quantized = layer_moments(self.model, texts)
        self.tweak(scheme, way, count, seed)
        tweaked = layer_moments(self.model, texts)
        return layer_deltas(exact, quantized), layer_deltas(exact, tweaked), f"{scheme}; {way}"

    def tweak(self, scheme: Scheme, way: Way, count: int, seed: int) -> TweakResult:
        """Leave the model quantised and tweaked, as the line of this combination says."""
        data = self._calibration(count, seed)
        settings = self._chosen(scheme, way, count, data)
        return self._run(scheme, settings, *self._split(data, count))

    def held_out(self, count: int, seed: int) -> Tensor:
        """The texts that judge, int64 [n, T]; the model is left as it is in float."""
        tokens = self._split(self._calibration(count, seed), count)[1].tokens
        self._restore()
        return tokens

    @cached_property
    def _data(self) -> dict[int, CalibrationData]:
        """The calibration texts of every seed."""
        return {seed: self._calibration(max(self._wanted.samples), seed) for seed in self._wanted.seeds}

    def _tweaked(
        self, scheme: Scheme, way: Way, count: int, data: dict[int, CalibrationData], seed: int
    ) -> dict[str, Any]:
        settings = self._chosen(scheme, way, count, next(iter(data.values())))
        result = self._run(scheme, settings, *self._split(data[seed], count))
        return {
            **self._perplexity(),
            "score_quantized": result.score_quantized,
            "score_tweaked": result.score_tweaked,
            "kept": result.kept,
            "learning_rate": settings.learning_rate if self.settings.grid(way) else None,
            "scale": settings.scale if self.settings.grid(way) else None,
        }

    def _chosen(self, scheme: Scheme, way: Way, count: int, data: CalibrationData) -> TweakSettings:
        """The settings whose tweaked model is best on held-out texts."""
        plain = way.settings(self.settings.passes, self.settings.batch_size)
        grid = self.settings.grid(way)
        if grid is None:
            return plain
        if len(grid.learning_rates) == len(grid.scales) == 1:
            return replace(plain, learning_rate=grid.learning_rates[0], scale=grid.scales[0])
        tuning, held_out = self._split(data, count)
        run = f"{self._text}; {scheme}; {way}; {plain}; {_digest(tuning, held_out)}"

        def keep(tweaker: ModelTweaker, result: TweakResult) -> None:
            values = {parameter: parameter.detach().clone() for parameter in _norm_parameters(self.model)}
            self._best = _Best(scheme, tweaker.settings, _digest(tuning, held_out), values, result)

        best, *_ = grid_search(
            lambda settings: self._tweaker(scheme, settings),
            tuning,
            held_out,
            plain,
            grid,
            f"{self._output}.grid",
            hashlib.sha256(run.encode()).hexdigest()[:16],
            keep=keep,
            passed=self._passed(scheme, plain),
        )
        return replace(plain, learning_rate=best.learning_rate, scale=best.scale)

    def _run(
        self, scheme: Scheme, settings: TweakSettings, tuning: CalibrationData, held_out: CalibrationData
    ) -> TweakResult:
        """Quantise and tweak the model, or make it again what a search has found."""
        best = self._best
        if best is None or best[:3] != (scheme, settings, _digest(tuning, held_out)):
            return self._tweaker(scheme, settings).run(tuning, held_out, passed=self._passed(scheme, settings))
        self._restore()
        quantize_model(self.model, scheme.quantizer())
        with torch.no_grad():
            for parameter, value in best.norms.items():
                parameter.copy_(value)
        return best.result

    def _passed(self, scheme: Scheme, settings: TweakSettings) -> Callable[[int, float | None], None]:
        def say(number: int, found: float | None) -> None:
            score = "" if found is None else f", KL {found:.5f}"
            self._say(f"{scheme}: pass {number} of {settings.iterations}{score}")

        return say

    def _tweaker(self, scheme: Scheme, settings: TweakSettings) -> ModelTweaker:
        self._restore()
        return ModelTweaker(self.model, scheme.quantizer(), settings)

    def _calibration(self, count: int, seed: int) -> CalibrationData:
        """Texts of the model's own; those of a smaller count are the first ones of a larger, as whole batches are."""
        self._restore()
        total, length = BATCH * math.ceil((count + self.settings.held_out) / BATCH), self.settings.length
        wanted = CalibrationSettings(total, length, batch_size=BATCH, seed=seed)
        path = f"{self._output}.calibration.{total}x{length}.{seed}"
        return generate_calibration(self.model, self._tokenizer, wanted, path)

    def _split(self, data: CalibrationData, count: int) -> tuple[CalibrationData, CalibrationData]:
        """(`count` texts, those before them, which judge)."""
        judges = self.settings.held_out
        return CalibrationData(data.tokens[judges : judges + count]), CalibrationData(data.tokens[:judges])

    def _perplexity(self) -> dict[str, Any]:
        found = sliding_window_perplexity(self.model, self._tokens, self.settings.window, self.settings.stride)
        return {"perplexity": found.perplexity, "tokens": found.tokens}

    @torch.no_grad()
    def _restore(self) -> None:
        """The float model again."""
        for parameter, value in self._float.items():
            parameter.copy_(value)


class _Best(NamedTuple):
    """The best model of the last search. texts: digest of those tweaked on and those that judged."""

    scheme: Scheme
    settings: TweakSettings
    texts: str
    norms: dict[nn.Parameter, Tensor]
    result: TweakResult


def _digest(tuning: CalibrationData, held_out: CalibrationData) -> str:
    return hashlib.sha256(torch.cat([held_out.tokens, tuning.tokens]).cpu().numpy().tobytes()).hexdigest()


def _norm_parameters(model: nn.Module) -> list[nn.Parameter]:
    return [parameter for _, norm in norms(model) for parameter in norm.parameters()]
