"""JSON's numbers in their shortest form without exponents, as regular languages: every value has one spelling.

"-0.5", "12", "0": no "-0", no leading zeros, no zeros at the end of a fraction. So comparing two numbers is comparing
their digits from the left, which an automaton can do.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import numpy as np

from ctrlg.automata.dfa import DFA
from ctrlg.errors import BudgetError
from ctrlg.regular import (
    Characters,
    CharacterSet,
    Expression,
    Language,
    OneOf,
    Repeat,
    Sequence,
    Within,
    language_of,
    literal,
    parsed,
)

_FRACTION = r"(?:\.[0-9]*[1-9])?"
_MOST_REMAINDERS = 20_000  # states of an automaton that divides


def spelled(number: int | Decimal) -> str:
    """The one spelling of a number."""
    sign, digits, exponent = Decimal(number).as_tuple()
    if not isinstance(exponent, int):
        raise ValueError(f"{number} is no number")
    text = "".join(map(str, digits))
    whole = text + "0" * exponent if exponent >= 0 else text[:exponent]
    fraction = "" if exponent >= 0 else text[exponent:].rjust(-exponent, "0")
    whole, fraction = whole.lstrip("0") or "0", fraction.rstrip("0")
    written = f"{whole}.{fraction}" if fraction else whole
    return f"-{written}" if sign and written != "0" else written


@lru_cache(maxsize=1)
def numbers() -> Language:
    """All numbers."""
    return language_of(parsed(rf"-?(?:0|[1-9][0-9]*){_FRACTION}")) - literal_language("-0")


@lru_cache(maxsize=1)
def integers() -> Language:
    """All whole numbers."""
    return language_of(parsed(r"0|-?[1-9][0-9]*"))


def literal_language(text: str) -> Language:
    """One text."""
    return language_of(literal(text))


@lru_cache(maxsize=256)
def at_least(bound: Decimal, exclusive: bool = False) -> Language:
    """Numbers that are not smaller than a bound, or larger than it."""
    if bound > 0:
        found = _positive_at_least(bound)
    else:
        negative = numbers() & language_of(parsed(r"-[^-]*"))
        # Of the negative numbers those whose absolute value is not larger.
        too_large = _positive_at_least(-bound) - literal_language(spelled(-bound)) if bound else None
        below = negative if too_large is None else _negated(too_large)
        found = numbers() - below
    return found - literal_language(spelled(bound)) if exclusive else found


@lru_cache(maxsize=256)
def at_most(bound: Decimal, exclusive: bool = False) -> Language:
    """Numbers that are not larger than a bound, or smaller than it."""
    return numbers() - at_least(bound, not exclusive)


def _negated(positive: Language) -> Language:
    return language_of(Sequence((literal("-"), Within(positive))))


def _positive_at_least(bound: Decimal) -> Language:
    """Numbers not smaller than a positive bound."""
    whole, _, fraction = spelled(bound).partition(".")
    digits, any_fraction = parsed("[0-9]"), parsed(_FRACTION)
    larger: list[Expression] = [Sequence((parsed("[1-9]"), Repeat(digits, len(whole)), any_fraction))]
    for place, digit in enumerate(whole):
        rest = Repeat(digits, len(whole) - place - 1, len(whole) - place - 1)
        larger.append(Sequence((literal(whole[:place]), _digit_above(digit), rest, any_fraction)))
    equal = literal(whole)
    if fraction:
        some = Repeat(digits)
        for place, digit in enumerate(fraction):
            larger.append(Sequence((equal, literal("." + fraction[:place]), _digit_above(digit), some)))
        larger.append(Sequence((equal, literal("." + fraction), some)))
    else:
        larger.append(Sequence((equal, any_fraction)))
    return language_of(OneOf(tuple(larger))) & numbers()


def _digit_above(digit: str) -> Expression:
    above = CharacterSet((ord(digit) + 1, ord("9") + 1)) if digit < "9" else CharacterSet()
    return Characters(above)


@lru_cache(maxsize=64)
def multiples(divisor: Decimal) -> Language:
    """Numbers that a positive number divides without a remainder.

    Raises:
        BudgetError: the divisor has too many digits.
    """
    _, digits, exponent = divisor.normalize().as_tuple()
    power = int(exponent)
    places = max(0, -power)  # of the fraction; there, p / 10^places divides
    p = int("".join(map(str, digits))) * 10 ** max(0, power)
    if p * (places + 2) > _MOST_REMAINDERS:
        raise BudgetError(
            f"multiples of {divisor} need {p * (places + 2):,} remainders", hint="use a divisor of fewer digits"
        )
    # States: (remainder of the digits so far, digits of the fraction so far + 1, or 0 before the point).
    width = places + 2
    dead = p * width
    delta = np.full((dead + 1, 13), dead, dtype=np.int32)
    remainders = np.arange(p)
    for read in range(width):
        here = remainders * width + read
        for digit in range(10):
            if read < width - 1 or (places == 0 and read == 0):
                after = read + 1 if read else 0
                delta[here, digit] = (remainders * 10 + digit) % p * width + after
        if read == 0:
            delta[here, 10] = remainders * width + 1 if places else dead
            delta[here, 11] = here
    accepting = np.zeros(dead + 1, dtype=bool)
    for read in range(width):
        missing = places - (read - 1 if read else 0)
        accepting[remainders * width + read] = remainders * pow(10, missing, p) % p == 0
    # Intervals: below "-", "-", ".", "/", each digit, above.
    starts = np.array([0, ord("-"), ord("."), ord("/"), *range(ord("0"), ord("9") + 2)], dtype=np.int64)
    class_of = np.array([12, 11, 10, 12, *range(10), 12])
    return Language.of(starts, DFA(class_of, delta, 0, accepting)) & numbers()


def divides(divisor: Decimal, number: Decimal) -> bool:
    """Whether a number is a multiple of another, without rounding."""
    places = max(0, -int(divisor.as_tuple().exponent), -int(number.as_tuple().exponent))
    return _scaled(number, places) % _scaled(divisor, places) == 0


def _scaled(number: Decimal, places: int) -> int:
    """number * 10^places, exactly; places leave no fraction."""
    sign, digits, exponent = number.as_tuple()
    return (-1 if sign else 1) * int("".join(map(str, digits))) * 10 ** (int(exponent) + places)
