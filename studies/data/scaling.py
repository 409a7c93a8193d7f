"""How does an HMM's held-out likelihood fall with data, and with states?

    python -m studies.data.scaling --training runs/samples/commongen.train.[0-7] --dev runs/samples/commongen.dev \\
        --test runs/samples/commongen.test --files 1 2 4 8 --states 128 256 512 1024 --seeds 0 1 2 \\
        --output runs/scaling.jsonl --plot fig/scaling.svg

Each cell distils from so many files of sampled sequences (embeddings beside them; the seed says which) into so many
states, by EM with soft emission counts and then with the sampled tokens themselves, as `ctrlg distill` does, each until
the likelihood of --dev falls; reported is that of --test. Each result is a line of OUTPUT; what is there already is not
run again.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ctrlg.devices import fast_dtype
from ctrlg.distillation.em.step import EMSettings, per_token
from ctrlg.distillation.first_hmm.latent import LatentSettings, SampledFile, latent_variable_distillation
from ctrlg.distillation.likelihoods import language_model_log_likelihood
from ctrlg.distillation.sampling.next_tokens import SUFFIX, describe_next_tokens, read_next_tokens
from ctrlg.distillation.sampling.samples import token_mask
from ctrlg.distillation.sampling.storage import read_sequences
from ctrlg.errors import ArgumentError
from ctrlg.figures import DARK, LIGHT, MIDDLE, new_figure
from ctrlg.files.folders import HMM_FOLDER, atomic_folder, check_folder
from ctrlg.files.records import markdown_rows, mean_and_deviation
from studies.data.distilling import DistillationStudy
from studies.data.fitting import fit
from studies.shared import Key, Line, Measured, StudyFlags, grouped


class Scaling(DistillationStudy):
    key = ("files", "states", "seed")
    figures = ("figure",)

    @classmethod
    def add_flags(cls, flags: StudyFlags) -> None:
        add = flags.add_argument
        add("--files", type=int, nargs="+", default=[1, 2, 4], help="numbers of files")
        add("--states", type=int, nargs="+", default=[128, 256, 512, 1024])
        add("--soft_steps", type=int, default=20, help="of EM, at most")
        add("--one_hot_steps", type=int, default=5, help="of EM, at most")
        add("--models", default="", help="folder to keep the trained HMMs in")
        flags.share(
            "model", "training", "dev", "test", "next_tokens", "soft_prior", "one_hot_prior", "seeds", batch_size=256
        )

    def check(self) -> None:
        most, named = max(self.arguments.files), len(self.arguments.training)
        if most > named:
            raise ArgumentError(f"--files {most}, but {named} were named", hint="name more, or take fewer")
        if self.arguments.models:
            for (key,) in self.batches():
                check_folder(self.model_folder(*key), HMM_FOLDER)

    def batches(self) -> Iterable[Sequence[Key]]:
        chosen = self.arguments
        for seed, files, states in product(chosen.seeds, chosen.files, chosen.states):
            yield [(files, states, seed)]

    def measure(self, keys: Sequence[Key]) -> Measured:
        for key in keys:
            yield key, self.distilled(*key)

    def model_folder(self, files: int, states: int, seed: int) -> Path:
        """Where a distilled HMM is kept."""
        return Path(self.arguments.models) / f"{files}-files-{states}-states-seed-{seed}"

    @cached_property
    def language_model(self) -> float:
        """The language model's nats per token on the test sequences."""
        return language_model_log_likelihood(self.models[0], [[self.eos]], self.test, self.eos)

    def distilled(self, count: int, states: int, seed: int) -> dict[str, float | int]:
        """Distil from `count` files; likelihoods in nats per token."""
        chosen = self.arguments
        order = torch.randperm(len(chosen.training), generator=torch.Generator().manual_seed(seed))
        files = [SampledFile.of(Path(chosen.training[index])) for index in order[:count].tolist()]
        started = time.monotonic()
        settings = LatentSettings(states, self.vocab_size, self.eos, seed=seed)
        first = latent_variable_distillation(files, settings, self.head, device=chosen.device).hmm.to(chosen.device)
        rows = torch.cat([read_sequences(file.sequences) for file in files])
        next_tokens = torch.cat([self.next_tokens(file) for file in files])
        em = EMSettings(chosen.batch_size, bfloat16=fast_dtype(chosen.device) == torch.bfloat16)
        soft = fit(first, rows, self.dev, em, chosen.soft_prior, next_tokens, chosen.soft_steps)
        best = fit(soft.model, rows, self.dev, em, chosen.one_hot_prior, None, chosen.one_hot_steps)
        if chosen.models:
            with atomic_folder(self.model_folder(count, states, seed), HMM_FOLDER) as folder:
                best.model.save_pretrained(folder)
        return {
            "tokens": int(token_mask(rows, self.eos).sum()),
            "before": per_token(first, self.test, 256),
            "dev": best.held_out,
            "soft": per_token(soft.model, self.test, 256),
            "test": per_token(best.model, self.test, 256),
            "em_steps": soft.steps + best.steps,
            "seconds": round(time.monotonic() - started, 1),
            "language_model": self.language_model,
        }

    def next_tokens(self, file: SampledFile) -> Tensor:
        """Those beside the file, sampled now where there are none."""
        mask = token_mask(read_sequences(file.sequences), self.eos)
        if not Path(f"{file.sequences}{SUFFIX}").is_file():
            describe_next_tokens(*file, self.head, self.arguments.next_tokens, self.vocab_size, self.eos, seed=0)
        return read_next_tokens(file.sequences, mask, self.vocab_size)

    def table(self, lines: Sequence[Line]) -> str:
        """Held-out likelihood, a row for each amount of text, a column for each number of states."""
        states = sorted({line["states"] for line in lines})
        rows: list[list[str]] = [["tokens", *(f"{count:,} states" for count in states)]]
        for (_,), mine in sorted(grouped(lines, "files").items()):
            tokens = statistics.mean(line["tokens"] for line in mine)
            cells = [[line["test"] for line in mine if line["states"] == count] for count in states]
            rows.append([f"{tokens:,.0f}", *(mean_and_deviation(cell) if cell else "" for cell in cells)])
        return markdown_rows(rows)

    def figure(self, lines: Sequence[Line]) -> Any:
        """Likelihood against tokens, a line for each number of states, and against states, one for each amount."""
        figure = new_figure(11, 4)
        token_means = {
            files: statistics.mean(line["tokens"] for line in lines if line["files"] == files)
            for files in {line["files"] for line in lines}
        }
        for axes, across, along, label in zip(
            figure.subplots(1, 2, sharey=True),
            ("files", "states"),
            ("states", "files"),
            ("tokens of sampled text", "states"),
            strict=True,
        ):
            groups = sorted({line[along] for line in lines})
            for place, group in enumerate(groups):
                mine = [line for line in lines if line[along] == group]
                columns = sorted({line[across] for line in mine})
                x = [token_means[column] if across == "files" else column for column in columns]
                y = [[line["test"] for line in mine if line[across] == c] for c in columns]
                colour = (LIGHT, MIDDLE, DARK, "0.4")[place % 4]
                name = f"{group:,} states" if along == "states" else f"{token_means[group] / 1e3:,.0f}k tokens"
                axes.plot(x, list(map(statistics.mean, y)), "o-", color=colour, label=name, markersize=4)
                for at, values in zip(x, y, strict=True):
                    axes.plot([at] * len(values), values, ".", color=colour, markersize=3)
            axes.set_xscale("log")
            places = sorted({line["states"] for line in lines} if across == "states" else token_means.values())
            axes.set_xticks(
                places, [f"{place:,}" if across == "states" else f"{place / 1e3:,.0f}k" for place in places]
            )
            axes.minorticks_off()
            axes.set_xlabel(label)
            axes.grid(color="0.92")
            axes.legend(frameon=False, fontsize=8)
        best = max(lines, key=lambda line: line["test"])
        figure.axes[0].set_ylabel("held-out log-likelihood (nats per token)")
        figure.suptitle(
            f"Best: {best['states']:,} states from {best['tokens'] / 1e3:,.0f}k tokens, {best['test']:.3f} "
            f"(language model {best['language_model']:.3f})"
        )
        return figure


if __name__ == "__main__":
    Scaling.main()
