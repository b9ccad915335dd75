"""Numbers that papers print, with where each comes from and whether anybody has checked it.

They are shown in a table of their own: another detector, another crop of the data or another count of clips makes a
number incomparable, so they never stand in one column with numbers computed here.
"""

from __future__ import annotations

from dataclasses import dataclass

SETTING = "VoxCeleb test clips, 256x256, reconstruction (source = frame 0, absolute keypoints, pooled over frames)"
"""What all published numbers were measured on."""

REPRODUCED_WITHIN = 0.05
"""A result this close (relative) to either FOMM row counts as reproduced."""


@dataclass(frozen=True)
class Number:
    """A published number, with the digits that its source prints.

    `confirmed_at` is a public page (URL) that confirms it; without one it is unverified.
    """

    text: str
    confirmed_at: str = ""

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def verified(self) -> bool:
        return bool(self.confirmed_at)


@dataclass(frozen=True)
class Published:
    """One row of one paper: metric name (a key of the metrics computed here, of the same definition) -> number."""

    method: str
    source: str
    numbers: dict[str, Number]


def _row(method: str, source: str, l1: Number, akd: Number, aed: Number) -> Published:
    return Published(method, source, {"l1": l1, "akd_face_alignment": akd, "aed_openface": aed})


_FOMM_PAPER = "FOMM paper, arXiv 2003.00196"
_LATER = "re-evaluated in later papers"

PUBLISHED = (
    _row("X2Face", _FOMM_PAPER, Number("0.078"), Number("7.687"), Number("0.405")),
    _row("Monkey-Net", _FOMM_PAPER, Number("0.049"), Number("1.878"), Number("0.199")),
    _row(
        "FOMM",
        _FOMM_PAPER,
        Number("0.043"),
        Number("1.294", "https://github.com/AliaksandrSiarohin/pose-evaluation/issues/2"),
        Number("0.140", "https://github.com/AliaksandrSiarohin/first-order-model/issues/148"),
    ),
    _row("FOMM", _LATER, Number("0.041"), Number("1.27"), Number("0.134")),
    _row("MRAA", _LATER, Number("0.040"), Number("1.28"), Number("0.133")),
    _row("TPSMM", _LATER, Number("0.039"), Number("1.22"), Number("0.125")),
)
"""Unverified: quoted from memory. The two verified values were confirmed in the authors' issue threads."""
