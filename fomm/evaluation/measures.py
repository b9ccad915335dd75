"""What is measured on the frames of one clip, run by run: `Frames` go in, a value per frame comes out.

`metrics` says what each number means; this module brings it together with detectors and networks, which come in from
outside. What depends on the reference alone (landmarks, masks and embeddings of truth, driving and source) is computed
once per frame and shared by every model that is compared.

    clip = ClipReference("id1/clip2", source, identity="id1")
    reference = Reference(clip, driving=frames, truth=frames)              # one run of frames; shared by the models
    for measure in measures_of_a_model:
        measure.start(clip)                                                # once per clip
        values = measure.update(Frames(prediction, reference))             # for each run of frames, in order
        more = measure.finish()                                            # once, after the last run

A measure keeps little and only between `start` and `finish`; `copy.copy(measure)` makes an independent one that shares
the networks (each model that is compared needs its own).

Values are float64, one per frame: NaN is a miss of the prediction, +inf (`metrics.UNKNOWN`) a frame whose truth has
nothing to compare with; average them with `metrics.tally`, not with `numpy.nanmean`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, SupportsFloat

import numpy as np
import torch
from torch import Tensor

from fomm.evaluation import metrics
from fomm.evaluation.definitions import SIDE
from fomm.evaluation.frames import ClipReference, Detector, Frames, Values, Which, rescaled
from fomm.evaluation.metrics import UNKNOWN
from fomm.pixels import to_tensor
from fomm.pretrained.embedders import Embedder, five_points


class Measure:
    """Measures one model on one clip at a time; see the module's text for the order of calls.

    `names` are the keys of `metrics.METRICS` (or `identity_<file stem>`) that it can give. `update` returns those that
    apply to these frames, each (T,); one that needs a truth has `compare` instead. `finish` returns further values that
    are known only after several frames, each (n,), to be averaged exactly like those of `update`.
    """

    names: tuple[str, ...]

    def start(self, clip: ClipReference) -> None: ...

    def update(self, frames: Frames) -> Values:
        return {} if frames.truth is None else self.compare(frames, frames.truth)

    def compare(self, frames: Frames, truth: Tensor) -> Values:
        raise NotImplementedError

    def finish(self) -> Values:
        return {}


class OfDetector(Measure):
    """A measure of the landmarks that a detector finds."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def found_and_wanted(self, frames: Frames, wanted: Which = "truth") -> Iterator[list[np.ndarray | None]]:
        """Landmarks of the prediction, and of what it is compared with, as `Detector.landmarks_of` has them."""
        return (self.detector.landmarks_of(frames, which) for which in ("prediction", wanted))


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().double().numpy()


def _by_frame(compare: Callable[[Any, Any], SupportsFloat], found: list, wanted: list) -> np.ndarray:
    """`compare` frame by frame: a miss where only the prediction shows nothing, unknown where the truth does not."""
    pairs = zip(found, wanted, strict=True)
    return np.array([UNKNOWN if b is None else np.nan if a is None else float(compare(a, b)) for a, b in pairs])


# -------------------------------------------------------------------------------------------------------------- pixels


class Pixels(Measure):
    """l1, psnr, ssim of whole frames, against the truth."""

    names = ("l1", "psnr", "ssim")

    def compare(self, frames: Frames, truth: Tensor) -> Values:
        return dict(zip(self.names, _pixel_values(frames, truth), strict=True))


def _pixel_values(frames: Frames, truth: Tensor, mask: Tensor | None = None) -> list[np.ndarray]:
    """L1, PSNR and SSIM of each frame, inside a mask (T, H, W) where there is one."""
    similarity = frames.remember("prediction", "ssim", lambda prediction: metrics.ssim_map(prediction, truth))
    pair = frames.prediction, truth
    values = metrics.l1(*pair, mask), metrics.psnr(*pair, mask), metrics.average(similarity, mask)
    return [_array(value) for value in values]


class FacePixels(OfDetector):
    """l1_face, psnr_face, ssim_face: the same inside the hull of the truth's face.

    There is no lpips_face: LPIPS compares features whose receptive fields reach far over the mask's edge.
    """

    names = ("l1_face", "psnr_face", "ssim_face")

    def compare(self, frames: Frames, truth: Tensor) -> Values:
        mask = frames.remember("truth", ("mask", self.detector), lambda _: self._masks(frames, truth))
        seen = mask.flatten(1).any(1).cpu().numpy()
        values = _pixel_values(frames, truth, mask)
        return {name: np.where(seen, value, UNKNOWN) for name, value in zip(self.names, values, strict=True)}

    def _masks(self, frames: Frames, truth: Tensor) -> Tensor:
        """(T, H, W) bool; empty where there is no face."""
        height, width = truth.shape[-2:]
        masks = np.zeros((len(truth), height, width), bool)
        for mask, points in zip(masks, self.detector.landmarks_of(frames, "truth"), strict=True):
            if points is not None:
                mask[:] = metrics.hull_mask(rescaled(points, (SIDE, SIDE), (width, height)), height, width)
        return torch.from_numpy(masks).to(truth.device)


# ---------------------------------------------------------------------------------------------------- learned features


class Lpips(Measure):
    """lpips against the truth, by a network as `load_lpips` gives: (T, 3, H, W) in [0, 1] twice -> (T,)."""

    names = ("lpips",)

    def __init__(self, network: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.network = network

    @torch.no_grad()
    def compare(self, frames: Frames, truth: Tensor) -> Values:
        return {"lpips": _array(self.network(frames.prediction.clamp(0, 1), truth))}


# ----------------------------------------------------------------------------------------------------------- landmarks


class Akd(OfDetector):
    """`akd_<detector's name>`: its landmarks in the prediction against those in the truth."""

    def __init__(self, detector: Detector) -> None:
        super().__init__(detector)
        self.names = (f"akd_{detector.name}",)

    def compare(self, frames: Frames, truth: Tensor) -> Values:
        return {self.names[0]: _by_frame(metrics.akd, *self.found_and_wanted(frames))}


class AkdTruth(OfDetector):
    """akd_truth: landmarks of MediaPipe's mesh in the prediction against the exact ones, where both have a point."""

    names = ("akd_truth",)
    # number in the mesh, number in the order of iBUG 300-W: corners of eyes and mouth, middle of the lips' edges, nose,
    # inner ends of the brows. On 80 drawn frames each lies within 3 px of the exact point, 2.0 px in the mean; brows'
    # arches, lids and jaw are placed by another rule there and lie up to 19 px off.
    PAIRS = (
        *((33, 36), (133, 39), (362, 42), (263, 45), (61, 48), (291, 54), (0, 51), (17, 57), (13, 62), (14, 66)),
        *((1, 30), (2, 33), (197, 28), (55, 21), (285, 22)),
    )

    def update(self, frames: Frames) -> Values:
        exact = frames.reference.truth_landmarks_px
        if exact is None:
            return {}
        height, width = frames.prediction.shape[-2:]
        mesh, markup = (list(numbers) for numbers in zip(*self.PAIRS, strict=True))
        wanted = rescaled(exact[:, markup], (width, height), (SIDE, SIDE))
        found = [None if x is None else x[mesh] for x in self.detector.landmarks_of(frames, "prediction")]
        return {"akd_truth": _by_frame(metrics.akd, found, list(wanted))}


class Jitter(OfDetector):
    """jitter: accelerations of the prediction's landmarks against the truth's, or the driving's."""

    names = ("jitter",)

    def start(self, clip: ClipReference) -> None:
        self._last: list[tuple[np.ndarray | None, np.ndarray | None]] = []  # the two frames before
        self._per_second = clip.fps**2

    def update(self, frames: Frames) -> Values:
        pairs = [*self._last, *zip(*self.found_and_wanted(frames, frames.wanted), strict=True)]
        self._last = pairs[-2:]
        if len(pairs) < 3:
            return {}
        threes = ([side[i : i + 3] for i in range(len(pairs) - 2)] for side in zip(*pairs, strict=True))
        found, wanted = (
            [None if any(x is None for x in three) else np.stack(three) for three in side] for side in threes
        )
        errors = _by_frame(lambda a, b: metrics.acceleration_error(a, b)[0], found, wanted)
        return {"jitter": self._per_second * errors}


class FlowError(Measure):
    """tof: optical flow from frame to frame of the prediction against the truth's."""

    names = ("tof",)

    def start(self, clip: ClipReference) -> None:
        self._last: dict[Which, np.ndarray] = {}

    def compare(self, frames: Frames, truth: Tensor) -> Values:
        made = self._flows(frames, "prediction")
        wanted = frames.remember("truth", "flow", lambda _: self._flows(frames, "truth"))
        self._last = {which: frames.bytes(which)[-1] for which in ("prediction", "truth")}
        return {"tof": np.array([metrics.flow_error(a, b) for a, b in zip(made, wanted, strict=True)])}

    def _flows(self, frames: Frames, which: Which) -> list[np.ndarray]:
        """From each frame to the next, from that before this run on."""
        pictures = [*([self._last[which]] if which in self._last else []), *frames.bytes(which)]
        return [metrics.optical_flow(*pair) for pair in zip(pictures, pictures[1:], strict=False)]


class Bodies(OfDetector):
    """akd_pose, mkr_pose: where a body's keypoints are, and how many of them are missing.

    A keypoint that the detector finds has x and y in pixels, and how surely it is seen: (33, 3).
    """

    names = ("akd_pose", "mkr_pose")
    SEEN = 0.5  # what is seen less surely is not there

    def compare(self, frames: Frames, truth: Tensor) -> Values:
        values = [self._of_frame(a, b) for a, b in zip(*self.found_and_wanted(frames), strict=True)]
        return {name: np.array(column) for name, column in zip(self.names, zip(*values, strict=True), strict=True)}

    def _of_frame(self, found: np.ndarray | None, wanted: np.ndarray | None) -> tuple[float, float]:
        there = wanted is not None and wanted[:, 2] >= self.SEEN
        if wanted is None or not np.any(there):
            return UNKNOWN, UNKNOWN
        if found is None:
            return np.nan, 1.0
        both = there & (found[:, 2] >= self.SEEN)
        distance = metrics.akd(found[both, :2], wanted[both, :2]) if both.any() else np.nan
        return float(distance), 1 - float(both.sum() / np.sum(there))


class HeadPose(Measure):
    """head_pose: angles of the prediction's mesh against the truth's, or their changes against the driving's."""

    names = ("head_pose",)

    def __init__(self, detector: Detector) -> None:
        if detector.angles is None:
            raise ValueError(f"detector {detector.name} tells no angles")
        self.detector, self.angles = detector, detector.angles

    def start(self, clip: ClipReference) -> None:
        self._first: list[np.ndarray] | None = None  # angles of the first frame in which both show a face

    def update(self, frames: Frames) -> Values:
        found, wanted = (
            [None if seen is None else np.asarray(self.angles(seen)) for seen in self.detector.seen(frames, w)]
            for w in ("prediction", frames.wanted)
        )
        if frames.truth is None:
            if self._first is None:
                pairs = zip(found, wanted, strict=True)
                self._first = next(([a, b] for a, b in pairs if a is not None and b is not None), None)
            if self._first is not None:
                found, wanted = (
                    [None if angles is None else angles - first for angles in side]
                    for side, first in zip((found, wanted), self._first, strict=True)
                )
        return {"head_pose": _by_frame(metrics.angle_error, found, wanted)}


class OwnKeypoints(Measure):
    """keypoints_own: the model's own keypoints (`Frames.detect`) in the prediction against those in the truth."""

    names = ("keypoints_own",)

    @torch.no_grad()
    def compare(self, frames: Frames, truth: Tensor) -> Values:
        if frames.detect is None:
            return {}
        found, wanted = (frames.detect(pictures).cpu().double() for pictures in (frames.prediction, truth))
        # +-1 are the centres of the border pixels
        return {"keypoints_own": metrics.akd(*(x.numpy() * (SIDE - 1) / 2 for x in (found, wanted)))}


# ------------------------------------------------------------------------------------------------------------ identity


class Aed(Measure):
    """aed_openface: squared distance of the embeddings of prediction and truth."""

    names = ("aed_openface",)

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def compare(self, frames: Frames, truth: Tensor) -> Values:
        found, wanted = (_embeddings(self.embedder, frames, which) for which in ("prediction", "truth"))
        return {"aed_openface": _by_frame(metrics.squared_distance, found, wanted)}


class Similarity(Measure):
    """`csim_arcface`, or `identity_<name>` of a network of the user's: cosine with the truth, or the source picture.

    A network that wants aligned faces needs a detector, which finds the landmarks of which five align the face.
    """

    def __init__(self, embedder: Embedder, detector: Detector | None = None) -> None:
        if embedder.aligned and detector is None:
            raise ValueError(f"{embedder.metric} needs a detector to align faces")
        self.embedder = embedder
        self.detector = detector if embedder.aligned else None
        self.names = (embedder.metric,)

    def update(self, frames: Frames) -> Values:
        found, wanted = _own_faces(lambda which: _embeddings(self.embedder, frames, which, self.detector), frames)
        return {self.names[0]: _by_frame(metrics.cosine, found, wanted)}


class IdentityDlib(Measure):
    """identity_dlib: distance from the truth's face, or the source's; identity_dlib_driver: from the driving frame's.

    By an embedder as in `fomm.pretrained.dlib_resnet`: (T, H, W, 3) uint8, landmarks (T, 468, 2) -> (T, D).
    """

    names = ("identity_dlib", "identity_dlib_driver")

    def __init__(self, embedder: Callable[[np.ndarray, list[np.ndarray]], np.ndarray], mesh: Detector) -> None:
        self.embedder, self.mesh = embedder, mesh

    def update(self, frames: Frames) -> Values:
        def embed(which: Which) -> list[np.ndarray | None]:
            key = ("dlib", self.embedder, self.mesh)
            return frames.remember(which, key, lambda _: _of_faces(self.mesh, frames, which, self.embedder))

        found, own = _own_faces(embed, frames)
        values = {"identity_dlib": _by_frame(metrics.distance, found, own)}
        if frames.truth is not frames.driving:
            values["identity_dlib_driver"] = _by_frame(metrics.distance, found, embed("driving"))
        return values


def _own_faces(embed: Callable[[Which], list], frames: Frames) -> tuple[list, list]:
    """What a network makes of the prediction, and of who should be seen: in the truth, or else the source picture."""
    found = embed("prediction")
    return found, embed("source") * len(found) if frames.truth is None else embed("truth")


def _of_faces(
    mesh: Detector, frames: Frames, which: Which, embed: Callable[[np.ndarray, list[np.ndarray]], np.ndarray]
) -> list[np.ndarray | None]:
    """What `embed` makes of each picture and its landmarks; None where it shows no face."""
    found = mesh.landmarks_of(frames, which)
    landmarks = {i: points for i, points in enumerate(found) if points is not None}
    if not landmarks:
        return [None] * len(found)
    rows = embed(frames.bytes(which)[[*landmarks]], [*landmarks.values()])
    known = dict(zip(landmarks, rows, strict=True))
    return [known.get(i) for i in range(len(found))]


def _embeddings(
    embedder: Embedder, frames: Frames, which: Which, mesh: Detector | None = None
) -> list[np.ndarray | None]:
    """(D,) of each picture; None where it shows no face to align."""

    def embed(pictures: np.ndarray, landmarks: list[np.ndarray]) -> np.ndarray:
        return embedder(to_tensor(pictures), np.stack([five_points(points) for points in landmarks]))

    def of_all(_: Tensor) -> list[np.ndarray | None]:
        return _of_faces(mesh, frames, which, embed) if mesh else list(embedder(to_tensor(frames.bytes(which))))

    return frames.remember(which, ("embedding", embedder, mesh), of_all)


class IdentityTruth(Measure):
    """identity_truth: 1 where the face is most like the right person among all known ones, else 0.

    Known people are drawn in the truth's exact pose (`Reference.portraits`); the prediction is compared with each
    drawing by L1 inside the hull of the truth's exact landmarks, so background, clothes and most of the hair, which
    would give the answer away, do not count.
    """

    names = ("identity_truth",)

    def update(self, frames: Frames) -> Values:
        reference = frames.reference
        if reference.portraits is None or reference.truth_landmarks_px is None:
            return {}
        people = reference.once("portraits", reference.portraits)
        height, width = frames.prediction.shape[-2:]
        masks = [metrics.hull_mask(points, height, width) for points in reference.truth_landmarks_px]
        mask = torch.from_numpy(np.stack(masks))
        prediction = frames.prediction.cpu()
        distance = {name: metrics.l1(prediction, to_tensor(drawn), mask) for name, drawn in people.items()}
        nearest = torch.stack(list(distance.values())).argmin(0)
        return {"identity_truth": _array(nearest == list(distance).index(reference.clip.identity))}
