"""How much perplexity do tweaked norms win back? One JSON line per scheme, way, number of texts and seed.

    python -m studies.norm_tweaking.study --text wiki.test.raw --output runs/tweak/study.jsonl
    python -m studies.norm_tweaking.study --text wiki.test.raw --output runs/tweak/study.jsonl --schemes 4 \\
        --ways end-to-end --samples 16 64 128 512
    python -m studies.norm_tweaking.study --summarize runs/tweak/study.jsonl --table runs/tweak/study.md \\
        --figure fig/norm_tweaking.svg
    python -m studies.norm_tweaking.study --text wiki.test.raw --output runs/tweak/study.jsonl --schemes 3:64 \\
        --ways end-to-end --layers_plot fig/norm_tweaking_layers.svg

Schemes: "4" (4 bits, a step for each output channel), "4:64" (for each group of 64). Ways: "distribution" (the paper's
loss, layer by layer), "mse", "moments", "least-squares", "own-least-squares" (closed forms), "end-to-end" (all norms at
once, KL), or a closed form and then that: "own-least-squares+end-to-end". The model writes its calibration texts
itself, others for each seed. Learning rates are chosen on texts held out from them. What is measured already is not
measured again, so that a study may be stopped, and widened by other options into the same file.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from normtweaking import read_tokens
from normtweaking.grid import Grid
from studies.norm_tweaking.layer_deltas import plot_layers
from studies.norm_tweaking.measures import COLUMNS, NormMeasures, Scheme, StudySettings, Wanted, Way
from studies.norm_tweaking.report import plot_study, table
from studies.shared import Key, Line, Measured, Study, StudyFlags


class NormTweaking(Study):
    key = COLUMNS
    figures = ("figure", "layers_figure")

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--text", required=True, help="perplexity is measured on it")
        add("--tokens", type=int, default=8192, help="of the text, from its beginning")
        add("--schemes", nargs="+", default=["4", "4:64", "3", "3:64", "2", "2:64"])
        add("--ways", nargs="+", default=["distribution", "own-least-squares", "end-to-end"])
        add("--samples", nargs="+", type=int, default=[32], help="texts tweaked on")
        add("--length", type=int, default=128, help="tokens of a calibration text")
        add("--held_out", type=int, default=8, help="texts that choose, beside those tweaked on")
        add("--passes", type=int, default=4, help="over the texts, end to end, at most")
        add("--rates", nargs="+", type=float, default=[1e-4, 1e-3], help="to choose from, layers")
        add("--scales", nargs="+", type=float, default=[1.0], help="to choose from, layers")
        add("--end_to_end_rates", nargs="+", type=float, default=[3e-3, 1e-2], help="to choose from")
        add("--end_to_end_scales", nargs="+", type=float, default=[0.0], help="to choose from")
        add("--window", type=int, default=512, help="of the perplexity, tokens")
        add("--stride", type=int, default=256, help="of the perplexity, tokens")
        flags.share("threads", model="default-base", seeds=[0, 1, 2], batch_size=4)

    def check(self) -> None:
        chosen = self.arguments
        schemes, ways = [Scheme.parse(text) for text in chosen.schemes], [Way.parse(text) for text in chosen.ways]
        self.wanted = Wanted(schemes, ways, chosen.samples, chosen.seeds)
        self.settings = StudySettings(
            held_out=chosen.held_out,
            length=chosen.length,
            passes=chosen.passes,
            batch_size=chosen.batch_size,
            layer_grid=Grid(chosen.rates, chosen.scales),
            end_to_end_grid=Grid(chosen.end_to_end_rates, chosen.end_to_end_scales),
            window=chosen.window,
            stride=chosen.stride,
        )

    @cached_property
    def measures(self) -> NormMeasures:
        """What measures, on the model and the text."""
        model, tokenizer = self.exact_models
        tokens = read_tokens(tokenizer, self.arguments.text)[: self.arguments.tokens]
        return NormMeasures(model, tokenizer, tokens, self.settings, self.wanted, self.arguments.output, self.say)

    def batches(self) -> Iterable[Sequence[Key]]:
        return [[key] for key in self.measures.combinations()]

    def measure(self, keys: Sequence[Key]) -> Measured:
        for key in keys:
            yield key, self.measures.measure(key)

    def table(self, lines: Sequence[Line]) -> str:
        return table(lines)

    def figure(self, lines: Sequence[Line]) -> Any:
        return plot_study(lines)

    def layers_figure(self, lines: Sequence[Line]) -> Any:
        """The layers' deltas on held-out texts, for the first scheme, way, number of texts and seed."""
        return plot_layers(*self.measures.layer_deltas())


if __name__ == "__main__":
    NormTweaking.main()
