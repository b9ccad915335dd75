"""What each number means, in words. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

SIDE = 256
"""Width of the picture in whose pixels all landmark distances are told: that of the published numbers."""


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
