"""What each number means, in words. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from fomm.expression import EYES_SHUT

SIDE = 256
"""Width of the picture in whose pixels all landmark distances are told: that of the published numbers."""


PSNR_MAX = 10 * math.log10(12 * 255**2)
"""58.9 dB: an error below that of rounding to 8 bits is not seen, so equal pictures score this, not infinity."""


@dataclass(frozen=True)
class MetricInfo:
    """What a metric is, for reports."""

    name: str  # its key in reports
    label: str  # as printed, like its unit
    unit: str
    better: Literal["lower", "higher"]
    definition: str  # in words
    source: str  # where the definition comes from
    # what must be there: "truth" (frames that the prediction should equal), "weights" (files that do not come with the
    # package), "extra" (an optional package), "cross" (one person driving another), "mesh" (a face detector), "face"
    # (pictures of faces), "body" (pictures of bodies), "exact" (a data set that knows its landmarks or its identities),
    # "model" (the network that made the frames)
    needs: tuple[str, ...] = ()
    # what a missed frame counts as where misses are counted: what two unrelated answers would score on average; None:
    # there is no sensible value
    penalty: float | None = None


FOLLOWED = {
    "mouth": ("Mouth", "of the distance of the eyes", "the gap between the lips"),
    "eyes": ("Eyes", "of an eye's width", "the gap between the lids, mean of both eyes"),
    "gaze": (
        "Gaze",
        "of an eye's width",
        "where the irises stand between the corners of their eyes, while they are open",
    ),
    "brows": ("Brows", "of the distance of the eyes", "the height of the brows above the eyes"),
    "pose": ("Pose", "°", "yaw, pitch and roll of the head since the first frame"),
}
"""What of a face is followed over a clip: its label, its unit, and what it is, in words."""

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


def _following(name: str) -> tuple[MetricInfo, ...]:
    label, unit, what = FOLLOWED[name]
    where = f"{what} (MediaPipe's refined mesh, as a ratio that does not depend on the person)"
    where = what if name == "pose" else where
    rule = (
        "One value for each clip whose driver does it enough to be told from noise; missed where the prediction shows "
        "a face in less than half of the frames."
    )
    infos = (
        MetricInfo(f"{name}_correlation", f"{label}, correlation", "", "higher", f"Pearson correlation over a clip of "
                   f"{where} in the prediction with the truth, or the driving frames where there is no truth. Standing "
                   f"still scores 0, and so does a miss. {rule}", "this project", ("mesh",), 0.0),
        MetricInfo(f"{name}_slope", f"{label}, |1 - slope|", "", "lower", "How far the regression slope over a clip of "
                   f"{where} in the prediction on the truth, or the driving frames where there is no truth, is from 1: "
                   f"0 for moving as much, 1 for standing still or for twice as much; a miss counts as 1. {rule}",
                   "this project", ("mesh",), 1.0),
    )  # fmt: skip
    if name == "pose":
        return infos  # its error is head_pose
    error = MetricInfo(f"{name}_error", f"{label}, error", unit, "lower", f"Mean |difference| of {where} between "
                       "prediction and truth; where there is no truth, of its deviations from their means over the "
                       "clip. Over clips whose driver does it enough to be told from noise. A "
                       "miss has no value to count as.", "this project", ("mesh",))  # fmt: skip
    return *infos, error


_STRANGERS = (
    "For scale, measured on 322 pairs of frames of the same people and 1758 of different ones (12 people in photos, "
    "paintings and clips): the same person 0.28 in the mean, 95 % below 0.40; different people 0.81, 95 % above 0.50. "
    "14 % of the different ones lie below 0.6, dlib's own limit, so a single distance proves nothing."
)

_INFOS = (
    MetricInfo("l1", "L1", "", "lower", "Mean of |prediction - truth| over pixels and colours, values in [0, 1], "
               "of 8-bit pictures.", _CODE, ("truth",)),
    MetricInfo("psnr", "PSNR", "dB", "higher", "10 log10(1 / mean squared error) of each frame, values in [0, 1]; at "
               f"most {PSNR_MAX:.1f} dB, the error of rounding to 8 bits, which equal pictures score.", "standard",
               ("truth",)),
    MetricInfo("ssim", "SSIM", "", "higher", "Structural similarity of each frame: Gaussian window of sigma 1.5 (11 "
               "pixels), K1 = 0.01, K2 = 0.03, colours one by one, mean over all pixels with the border mirrored. "
               "Libraries that leave out the border, where the window is not whole, give 0.002 to 0.005 less or more.",
               "Wang et al. 2004; torchmetrics", ("truth",)),
    MetricInfo("lpips", "LPIPS", "", "lower", "Learned perceptual distance on AlexNet features, version 0.1.",
               "Zhang et al. 2018; torchmetrics", ("truth", "weights")),
    MetricInfo("fid", "FID", "", "lower", "Fréchet distance between the Inception-v3 features (2048) of all predicted "
               "frames and of all truth frames (the driving frames where there is no truth), as 8-bit pictures. One "
               "number per set of clips; small sets read high.", "Heusel et al. 2017; torchmetrics with "
               "torch-fidelity's network", ("weights",)),
    MetricInfo("kid", "KID", "", "lower", "Squared maximum mean discrepancy (kernel (x·y / 2048 + 1)³, unbiased, so it "
               "may be a little below 0) between the same features as FID's: mean over 100 random subsets of 1000 "
               "frames, always the same, or all frames where there are fewer; of more than 16384 every second, fourth, "
               "... is used. One number per set of clips; its expectation does not depend on how many they are.",
               "Binkowski et al. 2018; torchmetrics with torch-fidelity's network", ("weights",)),
    MetricInfo("fvd", "FVD", "", "lower", "Fréchet distance between the features of all runs of consecutive predicted "
               "frames, one after another, and of the truth's (the driving frames' where there is no truth); what is "
               "left at the end of a clip is not used. One number per set of clips; small sets read high.",
               "Unterthiner et al. 2019; a network of the user's", ("weights",)),
    MetricInfo("tof", "tOF", _PX, "lower", "Optical flow from each frame to the next, in the prediction and in the "
               "truth: mean length of the difference. Farnebäck's flow on grey 8-bit pictures of "
               f"{SIDE} x {SIDE} without a border of 16 pixels, with the settings of TecoGAN's code. One value for "
               "each two consecutive frames.", "Chu et al. 2020 (TecoGAN)", ("truth",)),
    MetricInfo("l1_face", "L1, face", "", "lower", f"L1 {_MASK}.", "this project", ("truth", "mesh")),
    MetricInfo("psnr_face", "PSNR, face", "dB", "higher", f"PSNR of the pixels {_MASK}.", "this project",
               ("truth", "mesh")),
    MetricInfo("ssim_face", "SSIM, face", "", "higher", f"Mean of the whole frame's SSIM map {_MASK}.",
               "this project", ("truth", "mesh")),
    _akd("akd_face_alignment", "face-alignment", f"{_CODE}: 68 landmarks, first face, flip_input off",
         ("truth", "weights", "face")),
    _akd("akd_mediapipe", "MediaPipe", "this project: the same formula on the 468 landmarks of the largest face",
         ("truth", "mesh")),
    MetricInfo("akd_pose", "AKD (MediaPipe Pose)", _PX, "lower", "Of bodies: the same formula on the 33 keypoints of "
               "MediaPipe's pose (model complexity 1), over those that are seen (visibility at least 0.5) both in the "
               "prediction and in the truth. Left out of the mean: frames without any in the prediction; where they "
               f"are counted, each counts as {SIDE / 3:.1f} px. Frames without any in the truth count nowhere.",
               "this project", ("truth", "body"), SIDE / 3),
    MetricInfo("mkr_pose", "MKR (MediaPipe Pose)", "", "lower", "Missing keypoint rate, of bodies: the share of the "
               "keypoints that are seen in the truth's frame and not in the prediction's.",
               f"{_CODE}, there with another detector", ("truth", "body"), 1.0),
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
               "MediaPipe's mesh). Frames without a face in the prediction are left out; where they are counted, each "
               "counts as 0, as two strangers do.", "Deng et al. 2019; insightface's alignment", ("weights", "mesh"),
               0.0),
    MetricInfo("identity_truth", "Identity kept", "", "higher", "Share of frames whose face is most like a drawing "
               "of the right person: known people (all, or eight of them) are drawn in the truth's exact pose, and the "
               "prediction is compared with each drawing by L1 inside the truth's face. No network is involved.",
               "this project", ("exact",), 0.0),
    MetricInfo("identity_dlib", "Identity (dlib)", "", "lower", "L2 distance of dlib's 128-d face embeddings of "
               "prediction and truth (the source picture where there is no truth); faces aligned at 150 x 150 by five "
               f"points of MediaPipe's mesh. {_STRANGERS} Frames without a face in the prediction are left out; where "
               "they are counted, each counts as 0.81, as two strangers do.", "King 2017; dlib", ("extra", "mesh"),
               0.81),
    MetricInfo("identity_dlib_driver", "Distance from the driver (dlib)", "", "higher", "The same distance between "
               "prediction and driving frame, in cross-identity: small where the driver's looks leak into the result. "
               f"{_STRANGERS} Frames without a face in the prediction are left out; where they are counted, each "
               "counts as 0.", "King 2017; dlib", ("extra", "mesh", "cross"), 0.0),
    MetricInfo("keypoints_own", "Own keypoints", _PX, "lower", "The model's own keypoint detector on the prediction "
               "against the same on the truth: mean of |dx| and |dy|. Comparable only between checkpoints that share "
               "a detector.", "this project", ("truth", "model")),
    MetricInfo("jitter", "Jitter", f"{_PX} / s²", "lower", "Acceleration error: mean length of the difference "
               "between the second differences in time of the prediction's landmarks (MediaPipe) and those of the "
               "truth's (the driving frames' where there is no truth), times the square of the frames per second. 0 "
               "for motion equally smooth; steady offsets and drifts do not count. Three consecutive frames with a "
               "face give one value; a miss has no value to count as.",
               "acceleration error of Kanazawa et al. 2019, in the picture plane", ("mesh",)),
    MetricInfo("head_pose", "Head pose", "°", "lower", "Mean |difference| of yaw, pitch and roll from the face mesh "
               "between prediction and truth; where there is no truth, of their changes since the first frame "
               "against those of the driving frames. Frames without a face in the prediction are left out; where "
               "they are counted, each counts as 60°, the mean difference of two angles thrown at random into "
               "-90..90. Papers call such a distance APD, average pose distance.", "this project", ("mesh",), 60.0),
    *(info for name in FOLLOWED for info in _following(name)),
    MetricInfo("blinks_followed", "Blinks followed", "", "higher", "Share of the frames with shut eyes in the truth "
               "(the driving frames where there is no truth) whose prediction has shut eyes too; in MediaPipe's "
               f"refined mesh the gap between the lids is below {EYES_SHUT[0]} of an eye's width there, and below "
               f"{EYES_SHUT[1]} in the prediction. A miss counts as not followed.", "this project", ("mesh",), 0.0),
    MetricInfo("expression_mesh", "Expression (mesh)", "% of the distance of the eyes", "lower", "Mean distance of the "
               "landmarks of MediaPipe's refined mesh, once place, size and pose of the head are made equal by the "
               "landmarks that expressions hardly move; where there is no truth, of the landmarks' changes since the "
               "first frame against the driving frames'. Papers have two metrics called AED: the distance of identity "
               "embeddings (aed_openface), and an average expression distance of 3D face models' coefficients, of "
               "which this is the counterpart. A miss has no value to count as.", "this project", ("mesh",)),
)  # fmt: skip

METRICS: dict[str, MetricInfo] = {info.name: info for info in _INFOS}
"""Every metric by name; networks of the user's add their own (`custom_identity`)."""


def custom_identity(stem: str, sees: str, sha256: str, *, aligned: bool) -> MetricInfo:
    """Describe the similarity by a network of the user's file <stem>, metric `identity_<stem>`: what it sees, in words,
    and whether it wants an aligned face, which is missed where none is found."""
    what = (
        "Cosine of the embeddings of prediction and truth (the source picture where there is no truth) by the network "
        f"{stem}, which sees {sees}."
    )
    if aligned:
        what += (
            " Frames without a face in the prediction are left out; where they are counted, each counts as 0, as two "
            "strangers do."
        )
    needs = ("weights", "mesh") if aligned else ("weights",)
    source = f"the user's file {stem}, sha256 {sha256}"
    return MetricInfo(f"identity_{stem}", f"Identity ({stem})", "", "higher", what, source, needs, 0.0)


def fvd(file: str, sha256: str, frames: int, side: int) -> MetricInfo:
    """Describe FVD by a network of the user's, which sees so many frames of side x side at once."""
    plain = METRICS["fvd"]
    what = f"{plain.definition} Runs are of {frames} frames, resized to {side} x {side}, RGB in [-1, 1]."
    return replace(plain, definition=what, source=f"Unterthiner et al. 2019; the user's file {file}, sha256 {sha256}")
