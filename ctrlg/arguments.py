"""What arguments may be, checked in one place at the public face: `@checked` reads a function's own annotations.

    @checked
    def shorten(text: str, words: Positive, marks: Sequence[str] = ()) -> str: ...

    shorten("a dog", "3")  # ArgumentError: shorten: words is '3'; hint: a whole number from 1 to 2147483647

A checked function also takes what is right but unusual: numpy's scalars as numbers, generators and sets as sequences.
General-purpose checkers (beartype, typeguard, pydantic) either take True for 1, NaN for a number and "dog" for a list
of texts, or refuse numpy's integers. A check costs some microseconds: nothing that runs once a token is `@checked`.
"""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from ctrlg.errors import ArgumentError

LARGEST_COUNT = 2**31 - 1
LARGEST_VOCABULARY = 10_000_000  # far above any tokenizer, and what holds an entry for every token fits into memory
LARGEST_SEED = 2**32 - 1  # as for numpy and scikit-learn; other seeds are derived from one, and still fit 64 bits
LONGEST_NAME, LONGEST_PATH = 255, 3_800  # bytes; Linux takes 4,095, some of which the files of a folder need
_SHOWN_CHARACTERS = 60

C = TypeVar("C", bound=Callable[..., Any])


class Between(NamedTuple):
    """The range of a number, for `Annotated[int, Between(1, 8)]`. least, most: included; above, below: not included."""

    least: float = -math.inf
    most: float = math.inf
    above: float = -math.inf
    below: float = math.inf

    def __call__(self, name: str, value: Any) -> Any:
        """The value. Raises ArgumentError outside the range."""
        if not (self.least <= value <= self.most and self.above < value < self.below):
            raise refused(name, value, str(self))
        return value

    def __str__(self) -> str:
        bounds = {"least": "at least", "above": "above", "most": "at most", "below": "below"}
        named = self._asdict()
        return ", ".join(f"{word} {named[name]}" for name, word in bounds.items() if math.isfinite(named[name]))


class OneOf(NamedTuple):
    """For `Annotated[str, OneOf(METHODS)]`, where the names are those of a table."""

    choices: Collection[str]

    def __call__(self, name: str, value: str) -> str:
        """The value. Raises ArgumentError for another."""
        return _one_of(name, value, tuple(self.choices))


Positive = Annotated[int, Between(1, LARGEST_COUNT)]
TwoOrMore = Annotated[int, Between(2, LARGEST_COUNT)]
Natural = Annotated[int, Between(0, LARGEST_COUNT)]
VocabularySize = Annotated[int, Between(1, LARGEST_VOCABULARY)]
Seed = Annotated[int, Between(0, LARGEST_SEED)]
NonNegative = Annotated[float, Between(0)]
AboveZero = Annotated[float, Between(above=0)]
Temperature = Annotated[float, Between(1e-4, 1e4)]  # beyond, float32 holds no distribution
LengthPenalty = Annotated[float, Between(-1, 5)]  # below, transformers' search prefers its filler to long texts


def checked(target: C) -> C:
    """A function or class whose arguments are checked by its annotations (of a class: by its fields') before it runs.

    Looked at are int, float, str, bool, None, Path, classes, protocols, unions, Literal, sequences, sets and tuples of
    these, mappings, callables, and Annotated with functions of an argument's name and value. Missing and unknown
    arguments are refused too. Raises ArgumentError for all of them.
    """
    if isinstance(target, type):
        target.__init__ = _wrapped(target.__init__, target.__name__, target)  # type: ignore[misc]
        return target  # type: ignore[return-value]
    name = target.__qualname__.removesuffix(".__init__").rpartition(">.")[2]
    return _wrapped(target, name, target)


def check(function: Any, **values: Any) -> None:
    """Raise what a checked function would raise for some of its arguments, without calling it: for programs that have
    models to load before they can."""
    for name, value in values.items():
        function.checks()[name](name, value)


def _wrapped(function: Any, name: str, annotated: Any) -> Any:
    signature = inspect.signature(function)
    looked_at = [name for name, parameter in signature.parameters.items() if parameter.kind not in _MANY]

    @functools.cache  # not before the first call: annotations may name what is defined later
    def checks() -> dict[str, _Checker]:
        hints = get_type_hints(annotated, include_extras=True)
        return {parameter: _checker_of(hints.get(parameter, Any)) for parameter in looked_at}

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        bound, problem = _bound(signature, arguments, named)
        for parameter in looked_at:
            if parameter in bound.arguments:
                value = bound.arguments[parameter]
                try:
                    bound.arguments[parameter] = checks()[parameter](parameter, value)
                except _WrongKind as error:
                    hint = f"{error.hint}; the order is {_order_of(name, signature)}"
                    raise ArgumentError(f"{name}: {error.message}", hint=hint) from None
                except ArgumentError as error:
                    raise ArgumentError(f"{name}: {error.message}", hint=error.hint) from None
        if problem is not None:
            raise ArgumentError(f"{name}: {problem}", hint=_order_of(name, signature)) from None
        return function(*bound.args, **bound.kwargs)

    call.checks = checks  # type: ignore[attr-defined]
    return call


_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_Checker = Callable[[str, Any], Any]
"""An argument's name and value to the value as the function takes it."""


class _WrongKind(ArgumentError):
    """An object of another class: often in the wrong place, so that the right order helps."""


def _bound(
    signature: inspect.Signature, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[inspect.BoundArguments, str | None]:
    """The arguments by name, and what is wrong with their number or names. What is there is checked all the same: it
    tells more about a mistake ("hmm is a constraint") than what is missing ("there is no constraint")."""
    try:
        return signature.bind(*arguments, **named), None
    except TypeError as error:
        try:
            return signature.bind_partial(*arguments, **named), str(error)
        except TypeError:
            return signature.bind_partial(), str(error)


def _order_of(name: str, signature: inspect.Signature) -> str:
    parameters = [parameter for parameter in signature.parameters if parameter not in ("self", "cls")]
    return f"{name}({', '.join(parameters[:5])}{', ...' * (len(parameters) > 5)})"


def refused(name: str, value: Any, wanted: str) -> ArgumentError:
    """The error for an argument: its name and value, and what would be right."""
    return ArgumentError(f"{name} is {shown(value)}", hint=wanted)


def shown(value: Any) -> str:
    """A value as an error names it: as Python writes it where that is short and telling, else by its type."""
    if value is None or isinstance(value, (str, bytes, int, float, np.generic)):
        try:
            written = repr(value)
        except ValueError:  # an integer of more digits than Python writes
            return "a very large number"
        return written if len(written) <= _SHOWN_CHARACTERS else f"{written[:_SHOWN_CHARACTERS]}..."
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return _with_article(type(value).__name__)


def whole(name: str, value: Any) -> int:
    """A whole number of any type (numpy's, a tensor of one) as an int; True and 6.0 are none."""
    if not isinstance(value, (bool, np.bool_)):
        try:
            return operator.index(value)
        except (TypeError, ValueError, RuntimeError):  # the last two are torch's
            pass
    raise refused(name, value, "a whole number")


def number(name: str, value: Any) -> float:
    """A finite number of any type as a float."""
    if not isinstance(value, (bool, np.bool_, str, bytes)):
        try:
            found = float(value)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            found = math.nan
        if math.isfinite(found):
            return found
    raise refused(name, value, "a finite number")


def text(name: str, value: Any) -> str:
    """A text that can be written: half of a character (a lone surrogate, as Python reads from command lines that are
    not UTF-8) is none."""
    if not isinstance(value, str):
        raise refused(name, value, "a text (bytes have to be decoded)" if isinstance(value, bytes) else "a text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise refused(name, value, "a text of whole characters; is it from something that is not UTF-8?") from None
    return value


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise refused(name, value, "True or False")
    return bool(value)


def path(name: str, value: Any) -> Path:
    """The path of a file or folder."""
    if not isinstance(value, (str, Path)) or "\0" in str(value) or str(value) == "":
        raise refused(name, value, "a path")
    text(name, str(value))
    return nameable(value)


def nameable(path: str | Path, room: int = 0) -> Path:
    """The path, if a file system can hold its names, each with `room` bytes more. Raises ArgumentError.

    Asked before the system is: it raises an OSError for longer names even where it is only asked whether they exist.
    """
    whole = str(path)
    longest = max(map(_bytes, Path(path).parts), default=0)
    if longest + room > LONGEST_NAME or _bytes(whole) > LONGEST_PATH:
        raise ArgumentError(
            f"a name is too long: {whole[:400]!r}, {len(whole):,} characters in all",
            hint=f"{LONGEST_NAME - room} bytes at most between two slashes, {LONGEST_PATH:,} in all; is it a path?",
        )
    return Path(path)


def _bytes(name: str) -> int:
    return len(name.encode(errors="surrogatepass"))


def several(name: str, value: Any, what: str = "a list") -> list[Any]:
    """The elements of a list, tuple, set, generator, array ...; a text is no list of its letters."""
    if isinstance(value, (str, bytes)):
        raise refused(name, value, f"{what}, as [{shown(value)}]")
    is_array = hasattr(value, "tolist") and not isinstance(value, type)  # of numpy or torch
    dimensions = getattr(value, "ndim", None) if is_array else None
    if dimensions:
        return value.tolist()
    if isinstance(value, Mapping) or not isinstance(value, Iterable) or dimensions == 0:
        raise refused(name, value, what)
    return list(value)


def language_model(name: str, value: Any) -> Any:
    """A causal language model of transformers."""
    head = getattr(value, "get_output_embeddings", None)
    if isinstance(value, type) or not callable(getattr(value, "generate", None)) or head is None or head() is None:
        raise _WrongKind(
            f"{name} is {shown(value)}",
            hint="a causal language model of transformers; ctrlg.loading.load_language_model opens one by name",
        )
    return value


def tokenizer(name: str, value: Any) -> Any:
    """A tokenizer of transformers."""
    methods = ("encode", "decode", "convert_ids_to_tokens", "__len__")
    if isinstance(value, type) or not all(callable(getattr(value, method, None)) for method in methods):
        raise _WrongKind(f"{name} is {shown(value)}", hint="a tokenizer of transformers, as AutoTokenizer opens it")
    return value


LanguageModel = Annotated[Any, language_model]
Tokenizer = Annotated[Any, tokenizer]


def _checker_of(hint: Any) -> _Checker:
    """The check of an annotation."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _in_turn(_checker_of(inner[0]), inner[1:])
    if origin in (Union, UnionType):
        return _one_of_kinds(inner)
    if origin is Literal:
        return functools.partial(_one_of, choices=inner)
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is Any:
        return _anything
    if hint in (None, NoneType):
        return _nothing
    kind = origin or hint
    if not isinstance(kind, type):
        return _anything
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        return functools.partial(_fixed, checkers=[_checker_of(element) for element in inner])
    if kind in _SEQUENCES:
        make = kind if kind in (tuple, set, frozenset) else list
        return functools.partial(_elements, make=make, checker=_checker_of(inner[0] if inner else Any))
    if kind is Callable or kind is _CALLABLE:
        return _called
    if getattr(kind, "_is_protocol", False) and kind.__module__.split(".")[0] in ("ctrlg", "normtweaking"):
        return functools.partial(_like, kind=kind)
    if kind in (np.ndarray, object) or hasattr(kind, "__total__"):  # arrays and typed dictionaries look at themselves
        return _anything
    return functools.partial(_instance, kind=kind)


_CALLABLE = get_origin(Callable[[], None])
_PLAIN: dict[Any, _Checker] = {int: whole, float: number, str: text, bool: flag, Path: path}
_SEQUENCES = (list, tuple, set, frozenset, *map(get_origin, (Sequence[Any], Iterable[Any], Collection[Any], Set[Any])))


def _anything(name: str, value: Any) -> Any:
    return value


def _nothing(name: str, value: Any) -> None:
    if value is not None:
        raise refused(name, value, "None")


def _in_turn(first: _Checker, others: Sequence[Any]) -> _Checker:
    tests = [other for other in others if callable(other)]

    def check(name: str, value: Any) -> Any:
        try:
            value = first(name, value)
        except ArgumentError as error:  # one hint for kind and range: "a whole number, 1 to 8"
            ranges = [str(test) for test in tests if isinstance(test, Between)]
            raise type(error)(error.message, hint=", ".join([error.hint, *ranges])) from None
        for test in tests:
            value = test(name, value)
        return value

    return check


def _one_of_kinds(kinds: Sequence[Any]) -> _Checker:
    """The first kind that fits; where none does, what all of them would have been, or which element was wrong."""
    checkers = [_checker_of(kind) for kind in kinds if kind is not NoneType]

    def check(name: str, value: Any) -> Any:
        if value is None and NoneType in kinds:
            return None
        errors: list[ArgumentError] = []
        for checker in checkers:
            found, error = _tried(checker, name, value)
            if error is None:
                return found
            errors.append(error)
        of_elements = [error for error in errors if error.message.startswith(f"{name}[")]
        if of_elements:
            raise of_elements[0]
        hints = dict.fromkeys([error.hint for error in errors] + ["None"] * (NoneType in kinds))
        kind = _WrongKind if any(isinstance(error, _WrongKind) for error in errors) else ArgumentError
        raise kind(errors[0].message, hint=" or ".join(hints))

    return check


def _tried(checker: _Checker, name: str, value: Any) -> tuple[Any, ArgumentError | None]:
    try:
        return checker(name, value), None
    except ArgumentError as error:
        return None, error


def _one_of(name: str, value: Any, choices: Sequence[Any]) -> Any:
    if not isinstance(value, (str, int)) or value not in choices:
        raise refused(name, value, f"one of {', '.join(map(repr, choices))}")
    return value


def _elements(name: str, value: Any, make: Callable[[list[Any]], Any], checker: _Checker) -> Any:
    return make([checker(f"{name}[{place}]", element) for place, element in enumerate(several(name, value))])


def _fixed(name: str, value: Any, checkers: Sequence[_Checker]) -> tuple[Any, ...]:
    elements = several(name, value, f"a tuple of {len(checkers)}")
    if len(elements) != len(checkers):
        raise refused(name, value, f"a tuple of {len(checkers)}")
    numbered = enumerate(zip(checkers, elements, strict=True))
    return tuple(checker(f"{name}[{place}]", element) for place, (checker, element) in numbered)


def _called(name: str, value: Any) -> Any:
    if not callable(value):
        raise refused(name, value, "a function")
    return value


def _like(name: str, value: Any, kind: type) -> Any:
    """Whether an object has what a protocol names; `dir` does not compute the values of properties."""
    members = {member for member in vars(kind) if not member.startswith("_")}
    if isinstance(value, type) or not members <= set(dir(value)):
        raise _WrongKind(f"{name} is {shown(value)}", hint=_with_article(kind.__name__))
    return value


def _instance(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise _WrongKind(f"{name} is {shown(value)}", hint=_with_article(kind.__name__))
    return value


def _with_article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOaeio' or kind.startswith('HMM') else 'a'} {kind}"
