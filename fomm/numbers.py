"""Numbers from files, which may be anybody's: read exactly, and never larger than anything there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import TypeVar

Number = TypeVar("Number", int, float, Fraction)
MAX_COUNT = 2**31 - 1  # frames, pixels: more than any clip has
# `Fraction` itself computes the power of "1e1000000000", for hours.
_EXACT = re.compile(r"[+-]?(\d{1,30}/\d{1,30}|(\d{1,30}(\.\d{0,30})?|\.\d{1,30})(e[+-]?\d{1,2})?)", re.IGNORECASE)


def exact_number(text: str) -> Fraction:
    """A number as people and programs write it: 25, 29.97, 30000/1001, 1e-3.

    Raises ValueError where it is none, or has more than 30 digits, ZeroDivisionError where its denominator is 0.
    """
    if not _EXACT.fullmatch(text.strip()):
        raise ValueError(f"{_shortened(text)!r} is not a number (of at most 30 digits)")
    return Fraction(text.strip())


def count(text: str) -> int:
    """A whole number that counts frames or pixels; raises ValueError where it is none, or larger than any count."""
    if not re.fullmatch(r"[+-]?\d{1,30}", text.strip()) or abs(int(text)) > MAX_COUNT:
        raise ValueError(f"{_shortened(text)!r} is not a whole number of at most {MAX_COUNT}")
    return int(text)


def number(name: str, text: str, kind: Callable[[str], Number]) -> Number:
    """A number of this kind; raises ValueError, with its name, where it is none."""
    try:
        return kind(text)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{name} {text[:40]!r} is not a number") from None


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
