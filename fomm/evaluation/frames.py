"""What a measure gets to see: predictions and what they are compared with, each thing computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from fomm.evaluation.definitions import SIDE
from fomm.pixels import to_pictures

T = TypeVar("T")
Values = dict[str, np.ndarray]
Which = Literal["prediction", "truth", "driving", "source"]


class _Once:
    """Remembers what was computed, by name."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def __call__(self, key: Hashable, compute: Callable[[], T]) -> T:
        if key not in self._known:
            self._known[key] = compute()
        return self._known[key]


@dataclass(eq=False)
class ClipReference:
    """What is known of a clip before any frame is made; make it once, for all models."""

    name: str
    source: Tensor  # (3, H, W) float, RGB in [0, 1]
    identity: str = ""  # who should be seen in the output: the source's; "" unknown
    fps: float = 1.0  # frames per second
    once: _Once = field(default_factory=_Once, repr=False)


@dataclass(eq=False)
class Reference:
    """What a run of consecutive frames of a clip is compared with; make it once, for all models."""

    clip: ClipReference
    driving: Tensor  # (T, 3, H, W) float, RGB in [0, 1]
    # (T, 3, H, W), what the output should equal (in reconstruction the driving frames themselves); None: nobody knows
    truth: Tensor | None = None
    # (T, N, 2) exact landmarks of the truth in pixels of these frames, the first 68 in the order of iBUG 300-W
    truth_landmarks_px: np.ndarray | None = None
    # draws every known person, `clip.identity` among them, in the truth's exact poses: name -> (T, H, W, 3) uint8 RGB
    portraits: Callable[[], Mapping[str, np.ndarray]] | None = None
    once: _Once = field(default_factory=_Once, repr=False)


@dataclass(eq=False)
class Frames:
    """A run of frames that one model made, and what they are compared with."""

    prediction: Tensor  # (T, 3, H, W) float, RGB in [0, 1]; of the reference's size
    reference: Reference  # shared by the models
    detect: Callable[[Tensor], Tensor] | None = None  # the model's own keypoints: (T, 3, H, W) -> (T, K, 2) in [-1, 1]
    once: _Once = field(default_factory=_Once, repr=False)

    @property
    def truth(self) -> Tensor | None:
        return self.reference.truth

    @property
    def driving(self) -> Tensor:
        return self.reference.driving

    @property
    def wanted(self) -> Which:
        """What the motion of the output is compared with: the truth, or the driving frames where there is none."""
        return "driving" if self.truth is None else "truth"

    def pictures(self, which: Which) -> Tensor:
        """(T, 3, H, W), or (1, 3, H, W) of the source."""
        if which == "prediction":
            return self.prediction
        return self.reference.clip.source[None] if which == "source" else getattr(self.reference, which)

    def bytes(self, which: Which) -> np.ndarray:
        """`pictures` as detectors and face networks see them: (T, 256, 256, 3) uint8, see `bytes_256`."""
        return self.remember(which, "bytes", bytes_256)

    def remember(self, which: Which, key: Hashable, compute: Callable[[Tensor], T]) -> T:
        """`compute(pictures)`, once for all models unless it is about their prediction."""
        if which == "driving" and self.truth is self.driving:
            which = "truth"  # reconstruction: the same frames
        owners: dict[Which, Frames | ClipReference] = {"prediction": self, "source": self.reference.clip}
        owner = owners.get(which, self.reference)
        return owner.once((which, key), lambda: compute(self.pictures(which)))


@dataclass(frozen=True, eq=False)
class Detector:
    """A way to find one face in a picture."""

    name: str  # `akd_<name>` is its metric
    look: Callable[[np.ndarray], Any | None]  # (256, 256, 3) uint8 RGB -> whatever it sees, None where there is no face
    landmarks: Callable[[Any], np.ndarray] = np.asarray  # of what it sees, (N, 2) in pixels of that picture
    angles: Callable[[Any], tuple[float, float, float]] | None = None  # of what it sees, yaw, pitch, roll in degrees

    def seen(self, frames: Frames, which: Which) -> list[Any | None]:
        """What it sees in each picture, looked at once."""

        return frames.remember(which, self, lambda _: [self.look(picture) for picture in frames.bytes(which)])

    def landmarks_of(self, frames: Frames, which: Which) -> list[np.ndarray | None]:
        """(N, 2) in pixels at 256 of each picture, None where there is no face."""
        return [None if seen is None else self.landmarks(seen) for seen in self.seen(frames, which)]


def bytes_256(pictures: Tensor) -> np.ndarray:
    """Pictures as files would hold them: (T, 3, H, W) in [0, 1] -> (T, 256, 256, 3) uint8, resized if need be."""
    if pictures.shape[-2:] != (SIDE, SIDE):
        pictures = F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True)
    return to_pictures(pictures)


def rescaled(points_px: np.ndarray, from_wh: tuple[int, int], to_wh: tuple[int, int]) -> np.ndarray:
    """Points (..., 2) in pixels (integers are pixel centres) of a picture that is resized."""
    return (np.asarray(points_px, np.float64) + 0.5) * np.divide(to_wh, from_wh) - 0.5
