"""Numbers that say how good frames are: pure functions on arrays, what each means in words, and their averages.

Pictures are (T, 3, H, W) float tensors, RGB in [0, 1]; landmarks (..., N, 2) arrays of (x, y) in pixels of a picture
that is 256 wide; angles degrees; embeddings (T, D) of unit length. Detectors and networks stay outside: `measures`.

A value per frame is a float64. NaN is a miss: the prediction has nothing to measure (no face found in it, say). +inf is
"unknown": the truth has nothing to compare with, which is no fault of the model's; such a frame counts nowhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.image import structural_similarity_index_measure

SIDE = 256
"""Width of the picture in whose pixels all landmark distances are told: that of the published numbers."""

UNKNOWN = math.inf
"""The value of a frame whose truth has nothing to compare with."""

PSNR_MAX = 10 * math.log10(12 * 255**2)
"""58.9 dB: an error below that of rounding to 8 bits is not seen, so equal pictures score this, not infinity."""


@dataclass(frozen=True)
class MetricInfo:
    """What a metric is, for reports.

    Attributes:
        name: its key in reports.
        label, unit: as printed.
        better: which way is better.
        definition: in words.
        source: where the definition comes from.
        needs: what must be there: "truth" (frames that the prediction should equal), "weights" (files that do not
            come with the package), "mesh" (a face detector), "face" (pictures of faces), "exact" (a data set that
            knows its landmarks or its identities), "model" (the network that made the frames).
        penalty: what a missed frame counts as in the treatment that counts misses; None: there is no sensible value.
            Rule: what two unrelated answers would score on average.
    """

    name: str
    label: str
    unit: str
    better: Literal["lower", "higher"]
    definition: str
    source: str
    needs: tuple[str, ...] = ()
    penalty: float | None = None


_CODE = "the original authors' code (repository pose-evaluation)"
_PX = f"px at {SIDE}"
_AKD_MISS = (
    "Left out of the mean: frames without a face in the prediction; where they are counted, each counts as "
    f"{SIDE / 3:.1f} px, the mean |dx| of two points thrown at random into the picture. Frames without a face in the "
    "truth count nowhere."
)
_MASK = "inside the convex hull of the truth's face mesh (MediaPipe), on frames where the truth shows a face"


def _akd(name: str, detector: str, source: str, needs: tuple[str, ...]) -> MetricInfo:
    return MetricInfo(
        name,
        f"AKD ({detector})",
        _PX,
        "lower",
        f"Landmarks of {detector} on 8-bit pictures of {SIDE} x {SIDE}, in the prediction and in the truth: mean of "
        f"|dx| and |dy| over all of them (not a Euclidean distance, which reads 1.4 to 2 times higher). {_AKD_MISS}",
        source,
        needs,
        SIDE / 3,
    )


_INFOS = (
    MetricInfo("l1", "L1", "", "lower", "Mean of |prediction - truth| over pixels and colours, values in [0, 1], "
               "before any rounding to 8 bits.", _CODE, ("truth",)),
    MetricInfo("psnr", "PSNR", "dB", "higher", "10 log10(1 / mean squared error) of each frame, values in [0, 1]; at "
               f"most {PSNR_MAX:.1f} dB, the error of rounding to 8 bits, which equal pictures score.", "standard",
               ("truth",)),
    MetricInfo("ssim", "SSIM", "", "higher", "Structural similarity of each frame: Gaussian window of sigma 1.5 (11 "
               "pixels), K1 = 0.01, K2 = 0.03, colours one by one, mean over all pixels with the border mirrored.",
               "Wang et al. 2004; torchmetrics", ("truth",)),
    MetricInfo("lpips", "LPIPS", "", "lower", "Learned perceptual distance on AlexNet features, version 0.1.",
               "Zhang et al. 2018; torchmetrics", ("truth", "weights")),
    MetricInfo("fid", "FID", "", "lower", "Fréchet distance between the Inception-v3 features (2048) of all predicted "
               "frames and of all truth frames (the driving frames where there is no truth), as 8-bit pictures. One "
               "number per set of clips; small sets read high.", "Heusel et al. 2017; torchmetrics with "
               "torch-fidelity's network", ("weights",)),
    MetricInfo("l1_face", "L1, face", "", "lower", f"L1 {_MASK}.", "this project", ("truth", "mesh")),
    MetricInfo("psnr_face", "PSNR, face", "dB", "higher", f"PSNR of the pixels {_MASK}.", "this project",
               ("truth", "mesh")),
    MetricInfo("ssim_face", "SSIM, face", "", "higher", f"Mean of the whole frame's SSIM map {_MASK}.",
               "this project", ("truth", "mesh")),
    _akd("akd_face_alignment", "face-alignment", f"{_CODE}: 68 landmarks, first face, flip_input off",
         ("truth", "weights", "face")),
    _akd("akd_mediapipe", "MediaPipe", "this project: the same formula on the 468 landmarks of the largest face",
         ("truth", "mesh")),
    MetricInfo("akd_truth", "AKD (exact landmarks)", _PX, "lower", "Landmarks found in the prediction (MediaPipe) "
               "against the exact ones of the data set, at the points that both know: mean of |dx| and |dy|. The "
               "detector's own error is part of it: the truth's own frames do not score 0 (about 2 px on puppets). "
               f"{_AKD_MISS}", "this project", ("mesh", "exact"), SIDE / 3),
    MetricInfo("aed_openface", "AED (OpenFace)", "", "lower", "Squared L2 distance of the unit-length 128-d OpenFace "
               "(nn4.small2) embeddings of prediction and truth, which is 2 (1 - cos), in [0, 4]; the whole frame, "
               "not aligned, resized to 96 x 96, colours in BGR order as in the original authors' code.", _CODE,
               ("truth", "weights", "face"), 2.0),
    MetricInfo("csim_arcface", "CSIM (ArcFace)", "", "higher", "Cosine of the ArcFace embeddings of prediction and "
               "truth (the source picture where there is no truth), faces aligned at 112 x 112 by five points (from "
               "MediaPipe's mesh). "
               "Frames without a face in the prediction are left out; where they are counted, each counts as 0, as "
               "two strangers do.", "Deng et al. 2019; insightface's alignment", ("weights", "mesh"), 0.0),
    MetricInfo("identity_truth", "Identity kept", "", "higher", "Share of frames whose face is most like a drawing "
               "of the right person: known people (all, or eight of them) are drawn in the truth's exact pose, and the "
               "prediction is compared with each drawing by L1 inside the truth's face. No network is involved.",
               "this project", ("exact",), 0.0),
    MetricInfo("keypoints_own", "Own keypoints", _PX, "lower", "The model's own keypoint detector on the prediction "
               "against the same on the truth: mean of |dx| and |dy|. Comparable only between checkpoints that share "
               "a detector.", "this project", ("truth", "model")),
    MetricInfo("jitter", "Jitter", f"{_PX} / frame²", "lower", "Acceleration error: mean length of the difference "
               "between the second differences in time of the prediction's landmarks (MediaPipe) and those of the "
               "truth's (the driving frames' where there is no truth). 0 for motion equally smooth; steady offsets "
               "and drifts do not count. Three consecutive frames with a face give one value; a miss has no value to "
               "count as.",
               "acceleration error of Kanazawa et al. 2019, in the picture plane", ("mesh",)),
    MetricInfo("head_pose", "Head pose", "°", "lower", "Mean |difference| of yaw, pitch and roll from the face mesh "
               "between prediction and truth; where there is no truth, of their changes since the first frame "
               "against those of the driving frames. Frames without a face in the prediction are left out; where "
               "they are counted, each counts as 60°, the mean difference of two angles thrown at random into "
               "-90..90.", "this project", ("mesh",), 60.0),
)  # fmt: skip

METRICS: dict[str, MetricInfo] = {info.name: info for info in _INFOS}
"""Every metric by name; networks of the user's add their own (`custom_identity`)."""


def custom_identity(stem: str, convention: str = "", sha256: str = "", *, aligned: bool = False) -> MetricInfo:
    """Describe the similarity by a network of the user's, metric `identity_<stem>`.

    Args:
        stem: of the network's file.
        convention: what it sees, in words (`str(embedder.convention)`).
        sha256: of the file.
        aligned: whether it wants a face, which is missed where none is found.
    """
    misses = (
        " Frames without a face in the prediction are left out; where they are counted, each counts as 0, as two "
        "strangers do."
    )
    return MetricInfo(
        f"identity_{stem}",
        f"Identity ({stem})",
        "",
        "higher",
        f"Cosine of the embeddings of prediction and truth (the source picture where there is no truth) by the "
        f"network {stem}{f', which sees {convention}' if convention else ''}.{misses if aligned else ''}",
        f"the user's file {stem}{f', sha256 {sha256}' if sha256 else ''}",
        ("weights", "mesh") if aligned else ("weights",),
        0.0,
    )


# ---------------------------------------------------------------------------------------------------------------------
# Pictures: (T, 3, H, W) float in [0, 1], masks (T, H, W) bool -> (T,) float64


def l1(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean |difference| of each frame; inside `mask` where given, NaN where that is empty.

    >>> l1(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.25))
    tensor([0.2500], dtype=torch.float64)
    """
    return average((_exact(prediction) - _exact(truth)).abs(), mask)


def psnr(prediction: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """10 log10(1 / mean squared error) of each frame in dB, at most `PSNR_MAX`; `mask` as in `l1`.

    >>> psnr(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 0.1))
    tensor([20.0000], dtype=torch.float64)
    """
    error = average((_exact(prediction) - _exact(truth)).square(), mask)
    return -10 * error.clamp_min(10 ** (-PSNR_MAX / 10)).log10()


def ssim_map(prediction: Tensor, truth: Tensor) -> Tensor:
    """Structural similarity at each pixel, (T, 3, H, W) float64; its `average` is the frame's SSIM."""
    _, similarity = structural_similarity_index_measure(
        prediction, truth, data_range=1.0, reduction="none", return_full_image=True
    )
    return _exact(similarity)


def _exact(values: Tensor) -> Tensor:
    return (values.cpu() if values.device.type == "mps" else values).double()  # Apple's GPUs have no float64


def average(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean of maps (T, C, H, W) over each frame, or inside `mask` (T, H, W); NaN where that is empty."""
    if mask is None:
        return values.flatten(1).mean(1)
    weights = mask[:, None].to(values).expand_as(values).flatten(1)
    return (values.flatten(1) * weights).sum(1) / weights.sum(1)


def hull_mask(landmarks_px: np.ndarray, height: int, width: int) -> np.ndarray:
    """Convex hull of landmarks (N, 2), in pixels of this very picture, as a mask (height, width) of bool."""
    mask = np.zeros((height, width), np.uint8)
    hull = cv2.convexHull(np.round(landmarks_px).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, 1)
    return mask.astype(bool)


# ---------------------------------------------------------------------------------------------------------------------
# Landmarks, angles and embeddings


def akd(landmarks_px: np.ndarray, truth_px: np.ndarray) -> np.ndarray:
    """Average keypoint distance as the original authors' code has it: (..., N, 2) twice -> (...), mean of |dx|, |dy|.

    >>> akd(np.array([[3.0, 4.0], [0.0, 0.0]]), np.zeros((2, 2)))
    1.75
    """
    return np.abs(np.asarray(landmarks_px, np.float64) - np.asarray(truth_px, np.float64)).mean((-2, -1))


def acceleration_error(landmarks_px: np.ndarray, truth_px: np.ndarray) -> np.ndarray:
    """Mean length of the difference of second differences in time: (T, N, 2) twice -> (T - 2,), px / frame².

    >>> acceleration_error(np.array([[[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 0.0]]]), np.zeros((3, 1, 2)))
    array([10.])
    """
    difference = np.asarray(landmarks_px, np.float64) - np.asarray(truth_px, np.float64)
    return np.linalg.norm(np.diff(difference, n=2, axis=0), axis=-1).mean(-1)


def angle_error(angles_deg: np.ndarray, truth_deg: np.ndarray) -> np.ndarray:
    """Mean |difference| of angles (..., A), the short way round -> (...).

    >>> angle_error(np.array([179.0, 0.0]), np.array([-179.0, 4.0]))
    3.0
    """
    difference = np.asarray(angles_deg, np.float64) - np.asarray(truth_deg, np.float64)
    return np.abs((difference + 180) % 360 - 180).mean(-1)


def squared_distance(embeddings: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Squared L2 distance of unit vectors (T, D) -> (T,), in [0, 4]; it is 2 - 2 cos."""
    return np.square(np.asarray(embeddings, np.float64) - np.asarray(truth, np.float64)).sum(-1)


def cosine(embeddings: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Cosine of the angle between unit vectors (T, D) -> (T,), in [-1, 1]."""
    return (np.asarray(embeddings, np.float64) * np.asarray(truth, np.float64)).sum(-1)


# ---------------------------------------------------------------------------------------------------------------------
# Averages


class Tally(NamedTuple):
    """Values of frames, counted."""

    total: float  # sum of the values that are there
    frames: int  # how many those are
    missed: int  # NaN

    @property
    def mean(self) -> float:
        """Of the frames that were not missed; NaN when there is none."""
        return self.total / self.frames if self.frames else math.nan

    def mean_with_misses(self, penalty: float | None) -> float:
        """Every miss counts as `penalty`; NaN where there are misses but no penalty, or no frames."""
        if not self.missed:
            return self.mean
        return math.nan if penalty is None else (self.total + penalty * self.missed) / (self.frames + self.missed)


def tally(values: np.ndarray) -> Tally:
    """Count the values of frames (n,): NaN is a miss, +inf (`UNKNOWN`) counts nowhere."""
    values = np.asarray(values, np.float64)
    there = values[np.isfinite(values)]
    return Tally(math.fsum(there), len(there), int(np.isnan(values).sum()))


class Summary(Metric):
    """Averages of one metric over clips; the same however the clips are spread over processes.

    `update` takes the values of all frames of one clip; `compute` returns a dictionary:
        pooled              mean over the frames of all clips together (long clips weigh more), misses left out
        clip_mean           mean over clips of each clip's mean, misses left out
        pooled_with_misses  as `pooled`, every miss counts as `penalty`; NaN where there are misses but no penalty
        frames, missed      counts of frames: with a value, and missed
        clips, clips_missed counts of clips: with at least one value, and with misses only
    """

    full_state_update = False

    def __init__(self, penalty: float | None = None) -> None:
        super().__init__()
        self.penalty = penalty
        for name in ("total", "clip_means"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("frames", "missed", "clips", "clips_missed"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, values: np.ndarray) -> None:
        clip = tally(values)
        self.total += clip.total
        self.frames += clip.frames
        self.missed += clip.missed
        if clip.frames:
            self.clip_means += clip.mean
            self.clips += 1
        elif clip.missed:
            self.clips_missed += 1

    def compute(self) -> dict[str, float]:
        pooled = Tally(float(self.total), int(self.frames), int(self.missed))
        clips = int(self.clips)
        return {
            "pooled": pooled.mean,
            "clip_mean": float(self.clip_means) / clips if clips else math.nan,
            "pooled_with_misses": pooled.mean_with_misses(self.penalty),
            "frames": pooled.frames,
            "missed": pooled.missed,
            "clips": clips,
            "clips_missed": int(self.clips_missed),
        }
