"""Norm Tweaking (arXiv 2309.02784, algorithm 1): quantise a decoder layer by layer, repair it by its norms.

The float and the quantised model advance side by side. In each layer the float output is computed, the linear layers
are quantised, and the layer's norm parameters, nothing else, are moved until its output on the quantised model's own
states resembles the float output; then both chains pass the layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ctrlg.arguments import checked
from ctrlg.errors import ArgumentError, DataError, VocabularyError
from ctrlg.files.atomic import write_json
from ctrlg.files.folders import TWEAKED_FOLDER, atomic_folder
from normtweaking.rounding.quantizers import Quantizer, check_fits, outside, quantize_layers, quantize_outside
from normtweaking.structure import Decoder
from normtweaking.texts.calibration import CalibrationData
from normtweaking.tweaking.chain import Batch, LayerChain
from normtweaking.tweaking.divergence import Values, check_finite, in_place, learning, score, train_end_to_end
from normtweaking.tweaking.least_squares import fit_norms, float_norms
from normtweaking.tweaking.matching import match_moments, norm_moments
from normtweaking.tweaking.moments import Difference, activation_loss
from normtweaking.tweaking.settings import (
    END_TO_END,
    LAYERS,
    LEAST_SQUARES,
    MOMENTS,
    OWN_LEAST_SQUARES,
    LayerTweak,
    TweakResult,
    TweakSettings,
)
from normtweaking.tweaking.stages import Activations, Stage, stages_of

RESULT_FILE = "norm_tweaking.json"
CHECKED_TOKENS = 32  # of the first text, by which a model is checked
REPAIRS: dict[str, tuple[Callable[..., Any], Callable[..., None]]] = {  # what to look at, what to do then
    MOMENTS: (norm_moments, match_moments),
    LEAST_SQUARES: (float_norms, fit_norms),
    OWN_LEAST_SQUARES: (float_norms, partial(fit_norms, own=True)),
}


class ModelTweaker:
    """Quantises one model and repairs it by its norms.

    Args:
        model: a causal decoder of transformers in float32 or float64; it is changed.
        quantizer: of its linear layers.
        settings: how to tweak.
        embeddings: quantise these too.
        head: quantise these too.

    Raises:
        ArgumentError: models that cannot be taken apart and weights that do not fit the quantizer.
        CheckpointError: a file lacks weights.
    """

    @checked
    def __init__(
        self,
        model: Decoder,
        quantizer: Quantizer,
        settings: TweakSettings | None = None,
        embeddings: bool = False,
        head: bool = False,
    ) -> None:
        dtype = next(model.parameters()).dtype
        if dtype not in (torch.float32, torch.float64):
            raise ArgumentError(
                f"norms cannot be tweaked in {dtype}: small steps would be lost", hint="load in float32"
            )
        self.model = model
        self.quantizer = quantizer
        self.settings = settings or TweakSettings()
        self.chain = LayerChain(model)
        self._outside = (embeddings, head)
        check_fits(model, quantizer, *self._outside)

    @checked
    def run(
        self,
        calibration: CalibrationData,
        held_out: CalibrationData | None = None,
        report: Callable[[LayerTweak], None] = lambda layer: None,
        passed: Callable[[int, float | None], None] = lambda number, found: None,
    ) -> TweakResult:
        """Quantise and tweak the model, once.

        Args:
            calibration: what norms are tweaked on.
            held_out: what they are judged by; the calibration where None.
            report: called after each layer.
            passed: after each pass end to end, with its number, from 1, and its score, None where passes are not
                compared.

        Raises:
            VocabularyError: tokens that the model does not know.
            ArgumentError: a loss that is not finite.
        """
        for texts in (calibration, held_out):
            if texts is not None:
                self._check(texts)
        with _frozen(self.model):
            tuning = self._activations(calibration)
            judging = tuning if held_out is None else self._activations(held_out)
            layers, before = self._tweak(tuning, judging, report, passed)
            return self._better(layers, judging, before)

    def repair(
        self, batches: Sequence[Batch], report: Callable[[LayerTweak], None] = lambda layer: None
    ) -> tuple[LayerTweak, ...]:
        """Quantise and tweak the model, once, and keep the tweaked norms whatever they are worth.

        Args:
            batches: what the model reads; `run` makes them from tokens.
            report: called after each layer. Nothing is compared, so a model without a head will do where the scope is
                "layers".

        Raises:
            ArgumentError: a model that cannot be taken apart, or a loss that is not finite.
        """
        self.chain.check(batches[0])
        with _frozen(self.model):
            activations = Activations(self.chain, batches)
            return self._tweak(activations, activations, report, lambda number, found: None)[0]

    def save(self, folder: str | Path, tokenizer: Any, result: TweakResult, **said: Any) -> None:
        """Write a model folder that plain transformers loads, atomically, and `norm_tweaking.json` in it.

        Args:
            folder: to write.
            tokenizer: of the model.
            result: of `run`.
            said: more for that file, as JSON holds it.

        Raises:
            CtrlGError: as `atomic_folder`.
        """
        content = {
            **said,
            "quantizer": self.quantizer.describe(),
            "settings": asdict(self.settings),
            **result._asdict(),
            "layers": [layer._asdict() for layer in result.layers],
        }
        with atomic_folder(folder, TWEAKED_FOLDER) as temporary:
            self.model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            write_json(temporary / RESULT_FILE, content)

    def _tweak(
        self,
        tuning: Activations,
        judging: Activations,
        report: Callable[[LayerTweak], None],
        passed: Callable[[int, float | None], None],
    ) -> tuple[tuple[LayerTweak, ...], _FloatValues]:
        """What came of each layer, and what the parameters were before."""
        stages = stages_of(self.chain, tuning.batches[0])
        stages = [stage for stage in stages if stage.is_layer or self.settings.final_norm]
        before = self._float_values(stages)
        self._quantize_outside([tuning] if judging is tuning else [tuning, judging])
        layers = tuple(self._layers(stages, tuning, judging, before, report))
        if self.settings.scope != LAYERS and self.settings.learning_rate > 0:
            self._end_to_end(stages, tuning, judging, before, passed)
        return layers, before

    def _activations(self, data: CalibrationData) -> Activations:
        batches = data.batches(self.settings.batch_size)
        return Activations(self.chain, [{"input_ids": tokens.to(self._device)} for tokens in batches])

    def _layers(
        self,
        stages: list[Stage],
        tuning: Activations,
        judging: Activations,
        before: _FloatValues,
        report: Callable[[LayerTweak], None],
    ) -> Iterator[LayerTweak]:
        """Quantise layer after layer, and tweak them where the scope says so."""
        for index, stage in enumerate(stages):
            if self.settings.scope != END_TO_END:
                tweaked = self._stage(index, stage, tuning, judging, before)
                report(tweaked)
                yield tweaked
            elif stage.is_layer:
                for activations in {id(tuning): tuning, id(judging): judging}.values():
                    activations.advance_float(stage)
                quantize_layers(stage.module, self.quantizer, stage.name)

    def _stage(
        self, index: int, stage: Stage, tuning: Activations, judging: Activations, values: _FloatValues
    ) -> LayerTweak:
        settings = self.settings
        observe, repair = REPAIRS.get(settings.loss, (None, None))
        with in_place(values.outside):  # a head that is quantised already is float for what is wanted
            wanted = observe(stage, tuning) if observe else {}
        targets = self._targets(stage, tuning)
        judged = targets if judging is tuning else self._targets(stage, judging)
        if stage.is_layer:
            quantize_layers(stage.module, self.quantizer, stage.name)
        untweaked = {parameter: parameter.detach().clone() for parameter in stage.norm_parameters()}
        before = judging.difference(stage, judged)
        rate = settings.rate(index, len(self.chain.layers))
        if repair:
            repair(stage, tuning, wanted)
        else:
            self._train(stage, tuning, targets, rate)
        after = judging.difference(stage, judged)
        kept = not settings.keep_better_layers or after.loss(settings.layer_loss) <= before.loss(settings.layer_loss)
        if not kept:
            _restore(untweaked)
        if stage.is_layer:
            tuning.difference(stage, targets, advance=True)
            if judging is not tuning:
                judging.difference(stage, judged, advance=True)
        return _layer_tweak(stage.name, rate, before, after if kept else before, kept, settings.layer_loss)

    def _targets(self, stage: Stage, activations: Activations) -> list[Tensor]:
        """Float outputs of a stage. The float chain passes layers, but not the norm behind them: what follows the
        layers is computed from what the last one returned."""
        states = list(activations.float_states)
        activations.advance_float(stage)
        targets = activations.float_states
        if not stage.is_layer:
            activations.float_states = states
        return targets

    def _train(self, stage: Stage, tuning: Activations, targets: list[Tensor], rate: float) -> None:
        parameters = stage.norm_parameters()
        if not parameters or rate == 0:
            return
        optimizer = torch.optim.Adam(parameters, lr=rate)
        with learning(parameters):
            for _ in range(self.settings.iterations):
                for batch, hidden, target in tuning.triples(targets):
                    loss = activation_loss(self.settings.loss, target, stage.run(batch, hidden))
                    check_finite(loss.item(), self.settings)
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()

    def _end_to_end(
        self,
        stages: list[Stage],
        tuning: Activations,
        judging: Activations,
        before: _FloatValues,
        passed: Callable[[int, float | None], None],
    ) -> None:
        """Train all norms at once, and leave those of the best pass in place where asked for."""
        groups = [stage.norm_parameters() for stage in stages]
        choose = self.settings.keep_better and self.settings.iterations > 1
        best, values = math.inf, {}
        passes = train_end_to_end(self.chain, tuning, before.outside, groups, self.settings)
        for number, _ in enumerate(passes, start=1):
            found = score(self.chain, judging, before.outside) if choose else None
            if found is not None and found < best:
                best = found
                values = {parameter: parameter.detach().clone() for group in groups for parameter in group}
            passed(number, found)
        _restore(values)

    def _quantize_outside(self, all_activations: list[Activations]) -> None:
        if any(self._outside):
            quantize_outside(self.model, self.quantizer, *self._outside)
            for activations in all_activations:
                activations.quantized_states = activations.embeddings(self.chain)

    def _better(self, layers: tuple[LayerTweak, ...], judging: Activations, before: _FloatValues) -> TweakResult:
        """Score the model with and without tweaked norms, and leave the better one in place where asked for."""
        tweaked = score(self.chain, judging, before.outside)
        with in_place(before.norms):
            quantized = score(self.chain, judging, before.outside)
        kept = tweaked <= quantized or not self.settings.keep_better
        if not kept:
            _restore(before.norms)
        return TweakResult(layers, quantized, tweaked, kept)

    def _float_values(self, stages: list[Stage]) -> _FloatValues:
        norms = {parameter: parameter.detach().clone() for stage in stages for parameter in stage.norm_parameters()}
        outer = [parameter for stage in stages if not stage.is_layer for parameter in stage.norm_parameters()]
        outer += [module.weight for _, module in outside(self.model, *self._outside)]
        return _FloatValues(norms, {parameter: parameter.detach().clone() for parameter in outer})

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _check(self, data: CalibrationData) -> None:
        check_tokens(self.model, data.tokens)
        self.chain.check({"input_ids": data.rows()[0][None, :CHECKED_TOKENS].to(self._device)})


def check_tokens(model: Any, tokens: Tensor) -> None:
    """Check that a model can read texts.

    Args:
        model: a causal decoder of transformers.
        tokens: int64 [n, T].

    Raises:
        VocabularyError: tokens that the model does not know.
        DataError: texts longer than it reads.
    """
    vocab_size = model.get_input_embeddings().weight.shape[0]
    least, greatest = int(tokens.min()), int(tokens.max())
    if least < 0 or greatest >= vocab_size:
        raise VocabularyError(
            f"the calibration has tokens from {least} to {greatest}, the model knows {vocab_size}",
            hint="use data made with its own tokenizer",
        )
    room = getattr(model.config, "max_position_embeddings", None)
    if room and tokens.shape[1] > room:
        raise DataError(
            f"the calibration has texts of {tokens.shape[1]} tokens, the model reads {room} at most",
            hint="write shorter samples",
        )


class _FloatValues(NamedTuple):
    """norms: what all norm parameters were. outside: what all parameters were that follow the layers and change."""

    norms: Values
    outside: Values


@torch.no_grad()
def _restore(values: Values) -> None:
    for parameter, value in values.items():
        parameter.copy_(value)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No dropout, and no gradients but those asked for, while the block runs."""
    training = model.training
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        for parameter in wanted:
            parameter.requires_grad_(True)


def _layer_tweak(name: str, rate: float, before: Difference, after: Difference, kept: bool, loss: str) -> LayerTweak:
    return LayerTweak(
        name,
        rate,
        before.loss(loss),
        after.loss(loss),
        before.mean,
        after.mean,
        before.variance,
        after.variance,
        kept,
    )
