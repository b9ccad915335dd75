"""How a result follows its driver: what the face does over a clip, against what it should do.

What it does are ratios that hardly depend on whose face it is (`fomm.expression`), so the driver of another identity
will do as reference. A picture that stands still scores no correlation, whatever it looks like.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fomm import expression
from fomm.evaluation.definitions import FOLLOWED
from fomm.evaluation.frames import ClipReference, Detector, Frames, Values
from fomm.evaluation.metrics import UNKNOWN

Mesh = np.ndarray  # (478, 3)

DEEDS: dict[str, Callable[[Mesh], np.ndarray | float]] = {
    "mouth": expression.mouth_opening,
    "eyes": expression.eye_opening,
    "gaze": expression.gaze,
    "brows": expression.brow_height,
}


class Following:
    """Correlation, slope and error of each of `FOLLOWED`; blinks_followed; expression_mesh.

    Compared with the truth; where there is none, with the driving frames, and then by the changes since the first frame
    in which both show a face.

    Args:
        mesh: its landmarks are (478, 3), MediaPipe's refined mesh.
    """

    names = (
        *(f"{deed}_{what}" for deed in FOLLOWED for what in ("correlation", "slope")),
        *(f"{deed}_error" for deed in DEEDS),
        "blinks_followed",
        "expression_mesh",
    )

    def __init__(self, mesh: Detector) -> None:
        self.mesh = mesh

    def start(self, clip: ClipReference) -> None:
        self._first: tuple[Mesh, Mesh] | None = None  # shown and wanted, where both show a face
        self._wanted: list[dict[str, np.ndarray] | None] = []
        self._shown: list[dict[str, np.ndarray] | None] = []
        self._distances: list[float] = []  # expression_mesh
        self._is_truth = False

    def update(self, frames: Frames) -> Values:
        self._is_truth = frames.truth is not None
        found, wanted = (self.mesh.landmarks_of(frames, which) for which in ("prediction", frames.wanted))
        for a, b in zip(found, wanted, strict=True):
            if self._first is None and a is not None and b is not None:
                self._first = a, b
            self._shown.append(None if a is None else self._deeds(a, 0))
            self._wanted.append(None if b is None else self._deeds(b, 1))
            self._distances.append(UNKNOWN if b is None else np.nan if a is None else self._distance(a, b))
        return {}

    def _deeds(self, mesh: Mesh, side: int) -> dict[str, np.ndarray]:
        deeds = {name: np.atleast_1d(deed(mesh)) for name, deed in DEEDS.items()}
        if self._first is not None:  # before, no frame counts
            deeds["pose"] = expression.pose_angles(expression.head_rotation(mesh, self._first[side]))
        return deeds

    def _distance(self, shown: Mesh, wanted: Mesh) -> float:
        """Mean distance of landmarks once head pose, place and size are the same, in % of the distance of the eyes."""
        assert self._first is not None  # both show a face
        frame = self._first[1]
        shown, wanted = (expression.at_rest(mesh, frame) for mesh in (shown, wanted))
        if not self._is_truth:
            shown, wanted = (
                m - expression.at_rest(f, frame) for m, f in zip((shown, wanted), self._first, strict=True)
            )
        return 100 * float(np.linalg.norm(shown - wanted, axis=-1).mean() / expression.eye_distance(frame))

    def finish(self) -> Values:
        values: Values = {"expression_mesh": np.array(self._distances)}
        pairs = list(zip(self._shown, self._wanted, strict=True))
        start = next((i for i, (a, b) in enumerate(pairs) if a is not None and b is not None), len(pairs))
        for name in FOLLOWED:
            values |= self._follow(name, pairs, start)
        shut, still_shut = expression.EYES_SHUT
        values["blinks_followed"] = np.array([
            UNKNOWN if b is None or b["eyes"][0] >= shut else np.nan if a is None else float(a["eyes"][0] < still_shut)
            for a, b in pairs
        ])  # fmt: skip
        return values

    def _follow(self, name: str, pairs: list, start: int) -> Values:
        """Of one deed: correlation and slope (one value each), and an error for each frame."""
        there = [b is not None and i >= start and _can_be_seen(name, b) for i, (_, b) in enumerate(pairs)]
        both = [ok and a is not None for ok, (a, _) in zip(there, pairs, strict=True)]
        wanted = np.array([b[name] for ok, (_, b) in zip(there, pairs, strict=True) if ok])
        nothing = np.array([UNKNOWN])
        correlation, slope = nothing, nothing
        varies = len(wanted) > 2 and np.sqrt(wanted.var(0).sum()) >= expression.VARIES[name]
        if varies:
            if sum(both) < max(3, sum(there) / 2):
                correlation = slope = np.array([np.nan])
            else:
                series = [np.array([p[s][name] for ok, p in zip(both, pairs, strict=True) if ok]) for s in (1, 0)]
                correlation = np.array([expression.correlation(*series)])
                slope = np.array([abs(1 - expression.slope(*series))])
        values = {f"{name}_correlation": correlation, f"{name}_slope": slope}
        if name in DEEDS:
            origin = [0.0, 0.0] if self._is_truth or start == len(pairs) else [side[name] for side in pairs[start]]
            values[f"{name}_error"] = np.array([
                UNKNOWN if not (ok and varies) else np.nan if a is None
                else float(np.abs((a[name] - origin[0]) - (b[name] - origin[1])).mean())
                for ok, (a, b) in zip(there, pairs, strict=True)
            ])  # fmt: skip
        return values


def _can_be_seen(name: str, wanted: dict[str, np.ndarray]) -> bool:
    """Behind lids, a mesh only guesses the irises."""
    return name != "gaze" or bool(wanted["eyes"][0] > expression.EYES_OPEN)
