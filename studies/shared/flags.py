"""The flags of studies: what several of them are told has one spelling and one explanation."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ctrlg.terminal.flags import PlainArgumentParser

FIGURES = {"figure": "--plot", "guidance_figure": "--guidance_plot", "layers_figure": "--layers_plot"}
"""The flags of figures."""

SHARED: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "hmm": (("--hmm",), {"default": "default", "help": "name, folder or hub id of an HMM"}),
    "model": (
        ("--model",),
        {"default": "default", "help": "the language model: name, hub id, folder or .gguf file"},
    ),
    "concept_sets": (
        ("--data",),
        {"required": True, "help": "concept sets, JSON lines"},
    ),
    "sets": (("--sets", "--limit"), {"type": int, "help": "concept sets, spread evenly"}),
    "training": (("--training",), {"nargs": "+", "required": True, "help": "files of sampled sequences"}),
    "dev": (("--dev",), {"required": True, "help": "sampled sequences that stop EM"}),
    "test": (("--test",), {"required": True, "help": "sampled sequences that are judged by, and not trained on"}),
    "methods": (("--methods",), {"nargs": "+", "help": "of compression, see docs/methods.md"}),
    "bits": (("--bits",), {"nargs": "+", "type": int, "default": [8, 4, 3, 2]}),
    "masks": (("--masks",), {"nargs": "+", "choices": ("hard", "soft"), "default": ["hard"]}),
    "beams": (("--beams",), {"type": int, "default": 8, "help": "of the search"}),
    "max_new_tokens": (("--max_new_tokens",), {"type": int, "default": 32, "help": "of a text"}),
    "keywords": (("--keywords",), {"type": int, "help": "how many of the most frequent concepts"}),
    "sequences": (("--sequences",), {"type": int, "default": 500, "help": "sampled from the float HMM for KLseq"}),
    "hidden_states": (("--hidden_states",), {"type": int}),
    "entries": (("--entries",), {"type": int, "default": 150, "help": "stored in a compressed row"}),
    "steps": (("--steps",), {"type": int, "help": "of EM"}),
    "batch_size": (("--batch_size",), {"type": int, "help": "sequences of a step"}),
    "next_tokens": (("--next_tokens",), {"type": int, "default": 32, "help": "next tokens sampled for every place"}),
    "one_hot_prior": (("--one_hot_prior",), {"type": float, "default": 1000.0, "help": "observations a state"}),
    "soft_prior": (("--soft_prior",), {"type": float, "default": 50.0, "help": "observations a state"}),
    "seeds": (("--seeds",), {"nargs": "+", "type": int, "default": [0]}),
    "seed": (("--seed",), {"type": int, "default": 0}),
    "threads": (("--threads",), {"type": int, "default": 0, "help": "torch's choice where 0"}),
}


class StudyFlags(PlainArgumentParser):
    """A study's flags: the shared ones it names, its own by `add_argument`, and those of the runner.

    figures: names of its figures, each a flag. for_table: flags that the table needs as well; others that are required
    for measuring are not where `--summarize` is given. output: by default; "" where it must be named, None where there
    is none.
    """

    def __init__(
        self, description: str | None, figures: Sequence[str], for_table: Sequence[str], output: str | None
    ) -> None:
        self._for_table = for_table
        self._needed: list[argparse.Action] = []
        super().__init__(description)
        for name in figures:
            what = "figures, .png, .svg or .pdf"
            self.add_argument(FIGURES[name], dest=name, nargs="+", default=[], metavar="FILE", help=what)
        if output is not None:
            what = "JSON lines (or a folder for them); what is there already is not measured again"
            self.add_argument("--output", default=output, required=not output, help=what)
            what = "measure nothing, show FILE's lines"
            self.add_argument("--summarize", default="", metavar="FILE", help=what)
        self.add_argument("--table", default="", metavar="FILE", help="Markdown file for the table that is printed")
        self.add_device()

    def share(self, *names: str, **defaults: Any) -> None:
        """Add flags of `SHARED`, some with a default of their own, which need not be given then."""
        for name in (*names, *defaults):
            spellings, options = SHARED[name]
            changed = {"default": defaults[name], "required": False} if name in defaults else {}
            self.add_argument(*spellings, dest=name, **(options | changed))

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        """As argparse's; a default is shown behind the help."""
        if options.get("default") not in (None, "", []) and options.get("action") is None:
            shown = " ".join(map(str, options["default"])) if isinstance(options["default"], list) else "%(default)s"
            options["help"] = f"{options.get('help', '')} ({shown})".lstrip()
        action = super().add_argument(*names, **options)
        if action.required and action.dest not in self._for_table:
            self._needed.append(action)
        return action

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The values of a command line."""
        if any(word.startswith("--summari") for word in argv):
            for action in self._needed:
                action.required = False
        return self.parse_args(argv)
