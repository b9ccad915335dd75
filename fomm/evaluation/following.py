"""How a result follows its driver: what the face does over a clip, against what it should do.

What it does are ratios that hardly depend on whose face it is (`fomm.expression`), so the driver of another identity
will do as reference. A picture that stands still scores no correlation, whatever it looks like.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fomm import expression
from fomm.evaluation.definitions import FOLLOWED
from fomm.evaluation.frames import ClipReference, Frames, Values
from fomm.evaluation.measures import OfDetector
from fomm.evaluation.metrics import UNKNOWN

Mesh = np.ndarray  # (478, 3)
Deeds = dict[str, np.ndarray]  # what a face does in a frame, by name

DEEDS: dict[str, Callable[[Mesh], np.ndarray | float]] = {
    "mouth": expression.mouth_opening,
    "eyes": expression.eye_opening,
    "gaze": expression.gaze,
    "brows": expression.brow_height,
}


class Following(OfDetector):
    """Correlation, slope and error of each of `FOLLOWED`; blinks_followed; expression_mesh.

    Compared with the truth; where there is none, with the driving frames, and then by changes: what two faces at rest
    look like is not compared. The landmarks of the detector are (478, 3), MediaPipe's refined mesh.
    """

    names = (
        *(f"{deed}_{what}" for deed in FOLLOWED for what in ("correlation", "slope")),
        *(f"{deed}_error" for deed in DEEDS),
        "blinks_followed",
        "expression_mesh",
    )

    def start(self, clip: ClipReference) -> None:
        self._first: dict[str, Mesh] = {}  # of each side, in its first frame with a face
        self._both: tuple[Mesh, Mesh] | None = None  # shown and wanted in the first frame in which both show one
        self._rest: tuple[Mesh, Mesh] | None = None  # the same two in the head pose of the wanted one
        self._wanted: list[Deeds | None] = []
        self._shown: list[Deeds | None] = []
        self._distances: list[float] = []  # expression_mesh
        self._is_truth = False

    def update(self, frames: Frames) -> Values:
        self._is_truth = frames.truth is not None
        for a, b in zip(*self.found_and_wanted(frames, frames.wanted), strict=True):
            if self._both is None and a is not None and b is not None:
                self._both = a, b
                self._rest = expression.at_rest(a, b), expression.at_rest(b, b)
            self._shown.append(self._deeds(a, "shown"))
            self._wanted.append(self._deeds(b, "wanted"))
            self._distances.append(UNKNOWN if b is None else np.nan if a is None else self._distance(a, b))
        return {}

    def _deeds(self, mesh: Mesh | None, side: str) -> Deeds | None:
        if mesh is None:
            return None
        turned = expression.head_rotation(mesh, self._first.setdefault(side, mesh))
        return {name: np.atleast_1d(deed(mesh)) for name, deed in DEEDS.items()} | {
            "pose": expression.pose_angles(turned)
        }

    def _distance(self, shown: Mesh, wanted: Mesh) -> float:
        """Mean distance of landmarks once head pose, place and size are the same, in % of the distance of the eyes."""
        assert self._both is not None and self._rest is not None  # both show a face
        frame = self._both[1]
        shown, wanted = (expression.at_rest(mesh, frame) for mesh in (shown, wanted))
        if not self._is_truth:
            shown, wanted = shown - self._rest[0], wanted - self._rest[1]
        return 100 * float(np.linalg.norm(shown - wanted, axis=-1).mean() / expression.eye_distance(frame))

    def finish(self) -> Values:
        values: Values = {"expression_mesh": np.array(self._distances)}
        pairs = list(zip(self._shown, self._wanted, strict=True))
        for name in FOLLOWED:
            values |= self._follow(name, pairs)
        shut, still_shut = expression.EYES_SHUT
        values["blinks_followed"] = np.array([
            UNKNOWN if b is None or b["eyes"][0] >= shut else np.nan if a is None else float(a["eyes"][0] < still_shut)
            for a, b in pairs
        ])  # fmt: skip
        return values

    def _follow(self, name: str, pairs: list[tuple[Deeds | None, Deeds | None]]) -> Values:
        """Of one deed: correlation and slope (one value each), and an error for each frame."""
        metrics = [f"{name}_{what}" for what in ("correlation", "slope", "error")][: 3 if name in DEEDS else 2]
        wanted = [
            None if b is None or (name == "gaze" and not b["eyes"][0] > expression.EYES_OPEN) else b[name]
            for _, b in pairs  # behind lids, a mesh only guesses the irises
        ]
        there = np.array([w is not None for w in wanted], bool)
        driver = np.array([w for w in wanted if w is not None])
        if len(driver) < 3 or np.sqrt(driver.var(0).sum()) < expression.VARIES[name]:
            return {metric: np.full(len(pairs) if metric.endswith("error") else 1, UNKNOWN) for metric in metrics}
        errors = np.where(there, np.nan, UNKNOWN)
        both = [i for i, (a, _) in enumerate(pairs) if there[i] and a is not None]
        if len(both) < max(3, len(driver) / 2):
            return dict(zip(metrics, (np.array([np.nan]), np.array([np.nan]), errors), strict=False))
        driver = np.array([wanted[i] for i in both])
        result = np.array([a[name] for i, (a, _) in enumerate(pairs) if there[i] and a is not None])
        middle = 0.0 if self._is_truth else (result - driver).mean(0)  # faces at rest differ
        errors[both] = np.abs(result - driver - middle).mean(-1)
        correlation, slope = expression.correlation(driver, result), abs(1 - expression.slope(driver, result))
        return dict(zip(metrics, (np.array([correlation]), np.array([slope]), errors), strict=False))
