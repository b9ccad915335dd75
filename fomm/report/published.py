"""Numbers that papers print and that were read where they stand: what a reproduction has to reach.

They are shown in a table of their own: another detector, another crop of the data or another count of clips makes a
number incomparable, so they never stand in one column with numbers computed here.
"""

from __future__ import annotations

from typing import NamedTuple

SETTING = "VoxCeleb test clips, 256x256, reconstruction (source = frame 0, absolute keypoints, pooled over frames)"
"""What all published numbers were measured on."""

REPRODUCED_WITHIN = 0.05
"""A result this close (relative) counts as reproduced."""


class Number(NamedTuple):
    """A published number."""

    text: str  # the digits that its source prints
    confirmed_at: str  # a public page (URL)


class Published(NamedTuple):
    """One row of one paper."""

    method: str
    source: str
    numbers: dict[str, Number]  # by the key of the metric, computed here, of the same definition


PUBLISHED = (
    Published(
        "FOMM",
        "FOMM paper, arXiv 2003.00196; confirmed in the authors' issue threads",
        {
            "akd_face_alignment": Number("1.294", "https://github.com/AliaksandrSiarohin/pose-evaluation/issues/2"),
            "aed_openface": Number("0.140", "https://github.com/AliaksandrSiarohin/first-order-model/issues/148"),
        },
    ),
)
