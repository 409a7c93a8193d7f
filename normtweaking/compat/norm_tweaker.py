"""`NormTweaker` of the norm-tweaking repository: any decoder of transformers, with or without its head, in place.

Layers are tweaked by `normtweaking.tweaking.tweaker`, one text at a time, and the result is kept whatever it is worth.
Against that repository's own algorithm: the linear layers' weights are quantised, not biases and norms; a layer's
float output is that of the float model, not of a float layer behind quantised ones; end to end means the KL divergence
of the next-token distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ctrlg.errors import ArgumentError, CheckpointError, DataError
from ctrlg.files.atomic import write_json
from ctrlg.files.folders import TWEAKED_FOLDER, atomic_folder
from ctrlg.loading.language_models import load_tokenizer
from normtweaking.compat.quantizers import Bridge
from normtweaking.compat.reader import FIRST_LAYER_INPUT, Reader
from normtweaking.texts.calibration import CalibrationData, text_ends
from normtweaking.tweaking.chain import Batch, LayerChain
from normtweaking.tweaking.settings import END_TO_END, LAYERS, LayerTweak, TweakSettings
from normtweaking.tweaking.tweaker import ModelTweaker, check_tokens

METADATA_FILE = "norm_tweaking_metadata.json"


class Metric(NamedTuple):
    """Of a tweaked layer: means over channels of the absolute differences of its output's means and variances.

    Attributes:
        layer: its number.
        delta_mean: of the means, a scalar.
        delta_var: of the variances, a scalar.
    """

    layer: int
    delta_mean: Tensor
    delta_var: Tensor


class NormTweaker:
    """Quantizes and tweaks models with the settings of one run.

    Args:
        quantizer: one of `normtweaking.compat.quantizers`, or any object with `quantize(name, param)` and `metadata()`.
        save_dir: folder of the folders that `save` makes.
        skip_tweak: only quantize.
        initial_learning_rate: layer i of L learns at initial_learning_rate * (1 + lr_scale * i / L).
        lr_scale: see the learning rate.
        total_iters: passes over the texts.
        apply_layerwise: layer after layer; else all norms at once, end to end, which needs a model with its head or one
            whose head is its embedding.

    Attributes:
        train_metrics: of the layers of all models so far.

    Raises:
        ArgumentError: numbers out of range.
    """

    def __init__(
        self,
        quantizer: Any,
        save_dir: str | Path | None,
        skip_tweak: bool = False,
        initial_learning_rate: float | None = None,
        lr_scale: float | None = None,
        total_iters: int | None = None,
        apply_layerwise: bool = True,
    ) -> None:
        self.quantizer = quantizer
        self.save_dir = save_dir
        self.skip_tweak = skip_tweak
        self.initial_learning_rate = 1e-5 if initial_learning_rate is None else initial_learning_rate
        self.lr_scale = 5 if lr_scale is None else lr_scale
        self.total_iters = 1 if total_iters is None else total_iters
        self.apply_layerwise = apply_layerwise
        self.train_metrics: list[Metric] = []
        self._settings = TweakSettings(
            scope=LAYERS if apply_layerwise else END_TO_END,
            learning_rate=0.0 if skip_tweak else self.initial_learning_rate,
            scale=self.lr_scale,
            iterations=self.total_iters,
            batch_size=1,
            final_norm=not apply_layerwise,
            keep_better=False,
        )

    def tweak(
        self,
        model: Any,
        samples: Mapping[str, Tensor],
        samples_is_first_layer_input: bool = False,
        skip_save: bool = False,
    ) -> None:
        """Quantise and tweak a model in place, print the metrics, and save it.

        Args:
            model: bare or causal; in 16-bit floats it becomes a float32 one.
            samples: by name, tokens [T] or [B, T], or what `collect_first_layer_inputs` made of them.
            samples_is_first_layer_input: whether samples are what `collect_first_layer_inputs` made.
            skip_save: do not save.

        Raises:
            ArgumentError: models that cannot be taken apart.
            DataError: samples that are missing or of another shape.
            VocabularyError: tokens that the model does not know.
        """
        if not isinstance(samples, Mapping) or not samples:
            raise DataError("no calibration samples", hint="give a dictionary of tensors, sample_0, sample_1, ...")
        if not skip_save:
            self._require_save_dir()
        if next(model.parameters()).dtype in (torch.float16, torch.bfloat16):
            model.float()
        reader = Reader(model)
        if not self.apply_layerwise and not reader.can_predict:
            raise ArgumentError(
                f"{type(model).__name__} has no head, so it cannot be tweaked end to end",
                hint="give the causal model, or tweak layer by layer",
            )
        if samples_is_first_layer_input:
            inputs = [(FIRST_LAYER_INPUT, hidden) for hidden in samples.values()]
        else:
            inputs = [("input_ids", tokens) for tokens in _texts(model, samples).values()]
        batches: list[Batch] = [{kind: row.to(model.device)} for kind, rows in inputs for row in rows.split(1)]
        from rich.console import Console
        from rich.progress import Progress

        tweaker = ModelTweaker(reader, Bridge(self.quantizer, reader.bare_prefix), self._settings)
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("layers", total=len(tweaker.chain.layers))

            def report(layer: LayerTweak) -> None:
                self._record(layer)
                progress.advance(task)

            tweaker.repair(batches, report)
        print("\ntrain metrics:")
        self.print_metrics(self.train_metrics)
        if not skip_save:
            self.save(model, len(samples))

    def collect_first_layer_inputs(self, model: Any, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the first layer reads for each sample, [B, T, C]: embeddings of tokens and, for some models, places.

        Args:
            model: bare or causal, of transformers.
            samples: by name, tokens [T] or [B, T].
        """
        chain = LayerChain(Reader(model))
        return {
            name: chain.inputs({"input_ids": tokens.to(model.device)}).hidden
            for name, tokens in _texts(model, samples).items()
        }

    def print_metrics(self, metrics: Sequence[Metric]) -> None:
        """A table of the layers.

        Args:
            metrics: of the layers.
        """
        print(f"initial_learning_rate: {self.initial_learning_rate:.1e}, lr_scale: {self.lr_scale}")
        print("layer  delta mean  delta variance")
        for metric in metrics:
            print(f"{metric.layer:5d}  {float(metric.delta_mean):10.4f}  {float(metric.delta_var):14.4f}")

    def save(self, model: Any, num_samples: int | None = None) -> Path:
        """Write a model into a new folder of `save_dir`, with its tokenizer where that can be loaded; returns it.

        Args:
            model: bare or causal, of transformers.
            num_samples: for the metadata.

        Raises:
            ArgumentError: models of other libraries, or no `save_dir`.
        """
        if not isinstance(model, PreTrainedModel):
            raise ArgumentError(f"{type(model).__name__} cannot be saved", hint="give a model of transformers")
        folder = _new_folder(self._require_save_dir(), model.config.model_type)
        with atomic_folder(folder, TWEAKED_FOLDER) as temporary:
            model.save_pretrained(temporary)
            try:
                load_tokenizer(model.name_or_path or "").save_pretrained(temporary)
            except CheckpointError:
                print(f"no tokenizer in {model.name_or_path!r}: none is saved")
            write_json(temporary / METADATA_FILE, self._metadata(num_samples))
            for file in temporary.iterdir():
                file.chmod(0o644)
        print(f"saved: {folder}")
        return folder

    def _channelwise_distribution_loss(self, fout: Tensor, qout: Tensor) -> Tensor:
        """1/C sum_c |mean_f - mean_q| + |variance_f - variance_q| of outputs [T, C] or [B, T, C], summed over B.

        Variances are divided by T - 1. The loss that is lowered is
        `normtweaking.tweaking.moments.distribution_loss`, which divides by T.
        """
        if fout.shape != qout.shape or fout.dim() not in (2, 3):
            raise ArgumentError(
                f"outputs of shapes {tuple(fout.shape)} and {tuple(qout.shape)}",
                hint="give two of the same shape, [T, C] or [B, T, C]",
            )
        (float_variance, float_mean), (variance, mean) = (
            torch.var_mean(part, -2, correction=1) for part in (fout, qout)
        )
        return ((float_mean - mean).abs() + (float_variance - variance).abs()).sum() / fout.shape[-1]

    def _record(self, layer: LayerTweak) -> None:
        deltas = (torch.tensor(layer.mean_delta_after), torch.tensor(layer.variance_delta_after))
        self.train_metrics.append(Metric(int(layer.name.rsplit(".", 1)[1]), *deltas))

    def _metadata(self, num_samples: int | None) -> dict[str, str]:
        said = {f"norm_tweaking_quantizer_{name}": value for name, value in self.quantizer.metadata().items()}
        if num_samples is not None:
            said["norm_tweaking_num_samples"] = str(num_samples)
        if self.skip_tweak:
            return {**said, "norm_tweaking_skip_tweak": "True"}
        rate, scale = str(self.initial_learning_rate), str(self.lr_scale)
        return {**said, "norm_tweaking_initial_learning_rate": rate, "norm_tweaking_lr_scale": scale}

    def _require_save_dir(self) -> Path:
        if self.save_dir is None:
            raise ArgumentError("no save_dir", hint="name a folder, or tweak with skip_save=True")
        return Path(self.save_dir)


def _texts(model: Any, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tokens of each sample, int64 [B, T]; of a single text, which files hold, without the padding behind it."""
    texts = {}
    for name, sample in samples.items():
        if sample.dim() not in (1, 2) or sample.is_floating_point() or not sample.numel():
            raise DataError(
                f"{name} is {sample.dtype} of shape {tuple(sample.shape)}",
                hint="a sample is tokens, [T] or [B, T]; say so where it is the first layer's input",
            )
        data = CalibrationData(sample.reshape(-1, sample.shape[-1]).long().cpu())
        check_tokens(model, data.tokens)
        texts[name] = data.without_padding(text_ends(model)).tokens if len(data) == 1 else data.tokens
    return texts


def _new_folder(parent: Path, model_type: str) -> Path:
    """A path named by the time, where nothing is yet."""
    name = f"{model_type}_tweaked_{datetime.now().strftime('%Y_%m_%d-%H_%M_%S')}"
    numbers = (f"-{number}" if number > 1 else "" for number in count(1))
    return next(folder for number in numbers if not (folder := parent / f"{name}{number}").exists())
