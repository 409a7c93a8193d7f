"""Programs made of functions: what a command line takes is what the function takes.

    def train(settings: TrainingSettings, plot: Path | None = None) -> None:
        \"\"\"EM on sampled sequences.

        Args:
            plot: figure of the run, .png or .svg.
        \"\"\"

    Program(train, "train_hmm.py").main()

Options, types, defaults and help are read from parameters and their docstring (cyclopts does the parsing). A parameter
that is a settings class stands for its fields, so that each setting is written once, where the library checks it.
Parameters without a default may be given by place. `ctrlg.terminal.spellings` holds one
spelling for each concept, and the older ones.
"""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from ctrlg.arguments import shown
from ctrlg.arguments import text as whole_text
from ctrlg.errors import ArgumentError
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.spellings import SPELLINGS, spelled


class Option(NamedTuple):
    """An option. name: as it is spelled. field: the parameter or field that takes it. owner: the parameter whose
    settings class has the field; None for a parameter of the function itself."""

    name: str
    field: str
    kind: Any
    default: Any
    help: str
    owner: str | None


@dataclass(frozen=True)
class Program:
    """A command line of a function.

    Args:
        function: what runs. Defaults of a settings class may be replaced by a default of the parameter.
        name: as the user calls it.
        about: shown first by `--help`; the function's docstring where there is none.
        examples: shown last.
        defaults: for options, instead of the function's.
    """

    function: Callable[..., None]
    name: str
    about: str | None = None
    examples: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def main(self) -> None:
        """Run with the arguments of the process. Errors end it with a message, a hint and exit code 2."""
        with as_program():
            self(command_line())

    def __call__(self, words: Sequence[str]) -> None:
        """Run with these words. Raises ArgumentError for what the function does not take, and as the function."""
        wants_help = bool({"--help", "-h"} & set(words))
        options = self.options(with_help=wants_help)
        about = self.about or (inspect.getdoc(self.function) or "").split("\n\nArgs:")[0]
        summary, _, rest = about.partition("\n\n")
        app = _app(self.name, " ".join(summary.split()))
        app.default(_entry(options, self._run))
        parse(app, _respelled(words, {option.name for option in options}), f"{self.name} --help")
        if wants_help:  # cyclopts would break lines that are to be copied
            say("\n" + "\n\n".join(part.strip("\n") for part in (rest, self.examples) if part.strip()))

    def options(self, with_help: bool = False) -> list[Option]:
        """What the command line takes, those that must be given first."""
        found = list(_options(self.function, self.defaults, with_help))
        return sorted(found, key=lambda option: option.default is not MISSING)

    def _run(self, values: dict[str, Any]) -> None:
        chosen: dict[str, Any] = {}
        settings: dict[str, dict[str, Any]] = {}
        for option in self.options():
            place = chosen if option.owner is None else settings.setdefault(option.owner, {})
            place[option.field] = values[option.field]
        hints = get_type_hints(self.function)
        chosen |= {owner: hints[owner](**its) for owner, its in settings.items()}  # which checks ranges
        if values.get("device") is not None:
            from ctrlg.devices import checked_device

            checked_device(values["device"])
        self.function(**chosen)


def command_line() -> list[str]:
    """The words that the process was given. Raises ArgumentError for one that is no text."""
    return [whole_text(f"argument {place}", word) for place, word in enumerate(sys.argv[1:], start=1)]


def command_as_typed() -> str:
    """The command line of this process, for figures to name."""
    program = Path(sys.argv[0])
    name = str(program) if program.suffix == ".py" and program.stem != "__main__" else "ctrlg"
    return shlex.join([name, *sys.argv[1:]])


def parse(app: Any, words: Sequence[str], hint: str) -> None:
    """Let cyclopts parse words and call what they name. Raises ArgumentError, where it would print, for wrong ones."""
    from cyclopts import CycloptsError

    try:
        app(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise ArgumentError(str(error), hint=hint) from None


def overview(name: str, about: str, commands: dict[str, str], words: Sequence[str]) -> None:
    """Show commands and what they do. Raises ArgumentError where the words ask for something else."""
    app = _app(name, about)
    for command, summary in commands.items():
        app.command(_app(command, summary))
    parse(app, words, f"{name} --help")


def _app(name: str, summary: str) -> Any:
    from cyclopts import App

    app = App(name=name, help=summary, help_format="plaintext", version_flags=[], result_action="return_value")
    app["--help"].show = False
    return app


def _options(function: Callable[..., None], defaults: Mapping[str, Any], with_help: bool) -> Iterator[Option]:
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(function, include_extras=True)
    helps = _helps(function) if with_help else {}
    for name, parameter in parameters.items():
        given = MISSING if parameter.default is parameter.empty else parameter.default
        if not _is_settings(hints[name]):
            yield Option(spelled(name), name, hints[name], defaults.get(name, given), helps.get(name, ""), None)
            continue
        inside = get_type_hints(hints[name], include_extras=True)
        inside_helps = _helps(hints[name]) if with_help else {}
        for inner, default in _fields(hints[name], given):
            if inner not in parameters:  # a parameter of the same name takes its place
                default = defaults.get(inner, default)
                yield Option(spelled(inner), inner, inside[inner], default, inside_helps.get(inner, ""), name)


def _is_settings(kind: Any) -> bool:
    return isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields"))


def _fields(kind: Any, instance: Any) -> Iterator[tuple[str, Any]]:
    """Names and defaults of a settings class, those of an instance where there is one."""
    if not is_dataclass(kind):
        for name in kind._fields:
            yield name, getattr(instance, name, kind._field_defaults.get(name, MISSING))
        return
    for each in fields(kind):
        made = each.default if each.default_factory is MISSING else each.default_factory()
        yield each.name, getattr(instance, each.name, made)


def _helps(owner: Any) -> dict[str, str]:
    """What the docstring says about parameters or fields; "a, b: ..." is about both."""
    from docstring_parser.google import parse as parse_docstring

    found: dict[str, str] = {}
    for entry in parse_docstring(inspect.getdoc(owner) or "").params:
        for name in entry.arg_name.split(", "):
            found[name] = " ".join((entry.description or "").split())
    return found


def _respelled(words: Sequence[str], names: set[str]) -> list[str]:
    """Words with older spellings replaced, where the program has the option and no other of that name."""
    flags = names | {f"no_{name}" for name in names}
    known = {old: new for new, others in SPELLINGS.items() if new in flags for old in others if old not in names}
    respelled = []
    for word in words:
        flag, equals, value = word.partition("=")
        new = known.get(flag[2:].replace("-", "_")) if flag.startswith("--") else None
        respelled.append(word if new is None else f"--{new.replace('_', '-')}{equals}{value}")
    return respelled


def _entry(options: Sequence[Option], run: Callable[[dict[str, Any]], None]) -> Callable[..., None]:
    """A function with the options as parameters, for cyclopts to look at."""
    needed, optional = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            option.name,
            needed if option.default is MISSING else optional,
            default=inspect.Parameter.empty if option.default is MISSING else option.default,
            annotation=Annotated[option.kind, _parameter(option)],
        )
        for option in options
    ]
    signature = inspect.Signature(parameters)

    def entry(*arguments: Any, **named: Any) -> None:
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        run({option.field: bound.arguments[option.name] for option in options})

    entry.__signature__ = signature  # type: ignore[attr-defined]
    entry.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return entry


def _parameter(option: Option) -> Any:
    from cyclopts import Parameter

    kinds = _kinds(option.kind)
    several = bool({list, tuple} & set(map(get_origin, kinds)))
    shows = option.default not in (MISSING, None, "", (), False)
    options: dict[str, Any] = {"negative": ()} if option.default is False or bool not in kinds else {}
    if not several:
        options["allow_repeating"] = True  # the last one counts
    if int in kinds and not {str, float} & kinds:
        options["converter"] = _whole_numbers(option)
    return Parameter(
        help=option.help,
        consume_multiple=True,
        show_default=_shown_default if shows else False,
        **options,
    )


def _kinds(kind: Any) -> set[Any]:
    """The plain types in an annotation."""
    return {kind}.union(*map(_kinds, get_args(kind))) if not isinstance(kind, (str, tuple)) else set()


def _shown_default(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _whole_numbers(option: Option) -> Callable[[Any, Sequence[Any]], Any]:
    """What makes numbers of words; cyclopts itself would round 1.5."""
    kinds = _kinds(option.kind)
    several = any(get_origin(kind) is tuple for kind in kinds)

    def converted(_: Any, tokens: Sequence[Any]) -> Any:
        numbers = [_whole_number(token.value, NoneType in kinds) for token in tokens]
        return tuple(numbers) if several else numbers[0]

    return converted


def _whole_number(word: str, may_be_none: bool) -> int | None:
    if may_be_none and word.lower() == "none":
        return None
    try:
        return int(word)
    except ValueError:
        raise ValueError(f"{shown(word)} is not a whole number" + " or none" * may_be_none) from None
