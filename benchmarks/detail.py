"""What `--detail source` brings against the models' own pictures, enlarged. Prints two tables.

    python benchmarks/detail.py                                   # puppets, and scikit-image's portrait
    python benchmarks/detail.py --photos "[a.jpg, b.jpg]"         # your own

- puppets: the embedded model, on puppets drawn at two and four times its size and shrunk for it, against the drawn
  truth: L1 over pixels in [0, 1], and sharpness, the variance of the Laplacian against the truth's.
- photos: a dense motion of 64x64, random but smooth, and occlusion in smooth patches; a network that paints perfectly,
  but two or four times smaller than the photo's crop, as 256 is to 512 and 1024 pixels: the moved photo, shrunk. So the
  enlarged pictures are the best that any network of that size could give. Sharpness inside the face, and dlib's
  distance between faces, both against the photo moved at its own resolution.

The time is the processor's for a frame, without the networks.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from jsonargparse import auto_cli

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks.face import l1, laplacian_variance
from benchmarks.page import ratio, table
from fomm.animator import AnimationSettings, Animator, SourceDetail
from fomm.checkpoint import load_model
from fomm.errors import run
from fomm.model import FOMM, Output
from fomm.model.dense_motion import Motion
from fomm.model.geometry import Keypoints, coordinate_grid, displacement
from fomm.pixels import to_tensor
from fomm.pretrained.dlib_resnet import DlibEmbedder
from fomm.video import read_image
from preprocess.crop import Crop, crop_matrix
from preprocess.faces import FaceFinder
from preprocess.synthetic.puppets import draw, framing, random_identity, random_motion

GRID, FACTORS = 64, (2, 4)
FACES = 1.7  # side of a photo's crop, in sides of its face
MOVES, OCCLUDED = 0.02, 0.2  # root mean square of the motion, in sides of the crop; share that is occluded
NOTHING, NOWHERE = torch.zeros(0), Keypoints(torch.zeros(1, 1, 2), torch.eye(2)[None, None])


@dataclass(frozen=True)
class Options:
    """Measure.

    Args:
        photos: with a face each; by default scikit-image's portrait.
        puppets: how many are drawn.
        frames: motions for each puppet and photo.
    """

    photos: list[Path] = field(default_factory=list)
    puppets: int = 6
    frames: int = 8


def enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)


def shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def measure_puppets(options: Options) -> list[list[str]]:
    model, info = load_model("puppets")
    assert isinstance(model, FOMM), "puppets is of the paper's kind"
    animator, rows = Animator(model, device="cpu", precision="fp32"), []
    absolute, size = AnimationSettings(relative=False), info.image_size
    for factor in FACTORS:
        side, values = factor * size, []
        everywhere = np.ones((side, side), bool)
        for seed in range(options.puppets):
            puppet, motion = (
                random_identity(5000 + seed),
                random_motion(seed, options.frames + 1, 6, neutral_start=True),
            )
            camera = framing(puppet, motion, scale=1.6)
            truths = [draw(puppet, pose, side, camera).image for pose in motion]
            detail, small = SourceDetail(truths[0], (size, size)), [shrunk(truth, size) for truth in truths]
            plain = animator.animate(small[0], small[1:], absolute)
            detailed = animator.animate(small[0], small[1:], absolute, detail=detail)
            for truth, *made in zip(truths[1:], (enlarged(one, side) for one in plain), detailed, strict=True):
                drawn = laplacian_variance(truth, everywhere)
                sharp = [laplacian_variance(picture, everywhere) / drawn for picture in made]
                values.append([l1(picture, truth) for picture in made] + sharp)
        plain_l1, own_l1, plain_sharp, own_sharp = np.mean(values, 0)
        ratio(f"--detail source, puppets of {side} pixels, times as sharp as enlarged", own_sharp / plain_sharp)
        ratio(f"--detail source, puppets of {side} pixels, error against enlarged", own_l1 / plain_l1)
        rows.append([f"{side}", f"{plain_l1:.4f}", f"{own_l1:.4f}", f"{plain_sharp:.2f}", f"{own_sharp:.2f}"])
    return rows


def smooth_noise(random: np.random.Generator, coarse: int) -> np.ndarray:
    """(GRID, GRID) float32 with standard deviation 1."""
    points = random.standard_normal((coarse, coarse)).astype(np.float32)
    noise = cv2.resize(points, (GRID, GRID), interpolation=cv2.INTER_CUBIC)
    return noise / noise.std()


def random_motion_of(random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Deformation (1, 64, 64, 2) and occlusion (1, 1, 64, 64)."""
    shift = 2 * MOVES * np.stack([smooth_noise(random, 4), smooth_noise(random, 4)], -1)
    grid = coordinate_grid(GRID, GRID, dtype=torch.float32, device="cpu") + torch.from_numpy(shift)
    patches = smooth_noise(random, 8)
    occlusion = np.clip((patches - np.quantile(patches, OCCLUDED)) / 0.2 + 0.5, 0, 1)
    return grid[None], torch.from_numpy(occlusion)[None, None]


def moved(detail: SourceDetail, painted: np.ndarray, deformation: torch.Tensor, occlusion: torch.Tensor) -> np.ndarray:
    output = Output(to_tensor(painted[None]), Motion(deformation, occlusion, NOTHING, NOTHING), NOWHERE, NOWHERE)
    return next(detail.pictures(output, align_corners=True))


def warped(picture: np.ndarray, deformation: torch.Tensor) -> np.ndarray:
    """A square picture moved as the deformation says, everywhere."""
    shift = displacement(deformation, align_corners=True)[0].numpy() * (len(picture) / GRID)
    own = np.dstack(np.meshgrid(*(np.arange(len(picture), dtype=np.float32),) * 2))
    points = own + cv2.resize(shift, (len(picture),) * 2)
    return cv2.remap(picture, points, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def inside(mesh: np.ndarray, side: int) -> np.ndarray:
    """(side, side) bool: the face of which these are the landmarks."""
    mask = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.round(mesh[:, :2]).astype(np.int32)), 1)
    return mask > 0


def measure_photos(options: Options) -> list[list[str]]:
    import skimage.data

    photos = {path.name: read_image(path) for path in options.photos} or {"astronaut": skimage.data.astronaut()}
    rows, embed, random = [], DlibEmbedder(), np.random.default_rng(0)
    with FaceFinder() as finder:
        for name, photo in photos.items():
            face = finder.find(photo)[0]
            side = round(FACES * face.side_px)
            crop = Crop(crop_matrix(face.centre_px, side, face.roll_deg, side), side).apply(photo)
            for factor in FACTORS:
                size = side // factor
                detail, values, spent = SourceDetail(crop, (size, size)), [], 0.0
                for _ in range(options.frames):
                    deformation, occlusion = random_motion_of(random)
                    alone = warped(crop, deformation)
                    painted = shrunk(alone, size)
                    begun = time.process_time()
                    detailed = moved(detail, painted, deformation, occlusion)
                    spent += time.process_time() - begun
                    pictures = np.stack([alone, enlarged(painted, side), detailed])
                    meshes = [finder.landmarks(picture) for picture in pictures]
                    found = [mesh for mesh in meshes if mesh is not None]
                    if len(found) < len(meshes):
                        continue
                    there = inside(found[0], side)
                    sharp = [laplacian_variance(picture, there) for picture in pictures]
                    faces = embed(pictures, found)
                    away = np.linalg.norm(faces[1:] - faces[0], axis=1)
                    values.append([sharp[1] / sharp[0], sharp[2] / sharp[0], *away])
                means = np.mean(values, 0)
                rows.append(
                    [name, f"{side} from {size}", *(f"{x:.2f}" for x in means), f"{1e3 * spent / options.frames:.0f}"]
                )
    return rows


def main(options: Options = Options()) -> None:  # noqa: B008 - frozen
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    head = ["pixels", "L1, enlarged", "L1, detail", "sharpness, enlarged", "sharpness, detail"]
    table(head, measure_puppets(options), "Puppets, drawn at this size, against the drawn truth.")
    head = ["photo", "pixels", *(f"{what}, {m}" for what in ("sharpness", "identity") for m in ("enlarged", "detail"))]
    title = "Photos in random smooth motion, against the photo moved at its own resolution."
    table([*head, "processor ms"], measure_photos(options), title)


if __name__ == "__main__":
    run(lambda: main(auto_cli(Options, as_positional=False)))
