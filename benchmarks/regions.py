"""Whether what is outside of a region stays: photos moved by clips with the mouth alone, and with the head alone.

    python benchmarks/regions.py --photos "[a.jpg, b.jpg]" --clips "[a.mp4]"

Said of each pair, in pixels of a crop around the face (1.2 of its side) that is scaled to 256:
- mouth: how far the model moves landmarks of the upper face; how many of its pixels change, and by how much at most;
  how far MediaPipe's mesh on the result says that they moved. It looks at the whole face: where no pixel changed, what
  it says is its own doing.
- pose: how far the model changes the face's shape, and how far MediaPipe's mesh says that it changed; beside it what
  the mesh says of the photo itself, tilted by 10 degrees and enlarged by 5 percent.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from jsonargparse import auto_cli

from fomm.animator.settings import AnimationSettings, ModelSettings
from fomm.errors import run
from fomm.model.face import Face, Strength
from fomm.model.face.mesh import REFERENCE
from fomm.video import VideoReader, read_image
from preprocess.crop import shrunk
from preprocess.portraits import camera_crop, find_portrait
from preprocess.track import TRACK_SCALE
from studio.animation import load_tools
from studio.tools import PortraitTools, sitter_of
from studio.visitors import ASSETS

UPPER = np.flatnonzero(REFERENCE[:, 1] < 0.1)  # eyes, irises, brows, forehead
PHOTO_PX = 768
MOUTH, POSE = Strength(0, 1, 0), Strength(1, 0, 0)


@dataclass(frozen=True)
class Options:
    """Measure.

    Args:
        photos: each is shown with at most 768 pixels a side.
        clips: each drives each photo.
        frames: of each clip.
        every: the distance between them.
    """

    photos: list[Path] = field(default_factory=lambda: [ASSETS / "portrait.png"])
    clips: list[Path] = field(default_factory=lambda: [ASSETS / "speaker.mp4"])
    frames: int = 10
    every: int = 4


class Sitting:
    """A photo ready to be moved, and what MediaPipe sees of it."""

    def __init__(self, path: Path, tools: PortraitTools) -> None:
        self._finder, self._animator = tools.faces, tools.animator
        self.photo = shrunk(read_image(path), PHOTO_PX)
        found = find_portrait(self.photo, path, self._finder, None)
        self.face = found.face
        self.portrait = tools.animator.portrait(sitter_of(self.photo, found, self._finder))
        self.unit = 256 / (TRACK_SCALE * self.face.side_px)
        self.seen = self.mesh(self.photo)
        self.upper = np.zeros(self.photo.shape[:2], np.uint8)
        cv2.fillConvexPoly(self.upper, cv2.convexHull(np.int32(self.portrait.source.landmarks[UPPER, :2])), 1)

    def mesh(self, picture: np.ndarray) -> Face:
        landmarks = self._finder.close_mesh(picture, self.face)
        assert landmarks is not None, "the face is still there"
        return Face(landmarks)

    def shape_changes(self, picture: np.ndarray) -> float:
        """Mean distance of MediaPipe's landmarks from the photo's in the head's frame, in pixels."""
        apart = np.linalg.norm((self.mesh(picture).shape - self.seen.shape)[:, :2], axis=1)
        return float(apart.mean() * self.seen.pose.scale * self.unit)

    def of_itself(self) -> float:
        """What MediaPipe says of the photo, tilted and enlarged."""
        centre = tuple(float(one) for one in self.face.centre_px)
        size = self.photo.shape[1], self.photo.shape[0]
        warped = (cv2.getRotationMatrix2D(centre, angle, 1.05) for angle in (-10, 10))
        return float(np.mean([self.shape_changes(cv2.warpAffine(self.photo, one, size)) for one in warped]))

    def measure(self, clip: Path, options: Options) -> str:
        frames = [frame.image for frame in islice(VideoReader(clip), 0, options.frames * options.every, options.every)]
        view = camera_crop(frames[0], self._finder).apply
        source = self.portrait.source
        said = []
        for region, strength in (("mouth", MOUTH), ("pose", POSE)):
            follow = self._animator.follow(source, view(frames[0]), strength=strength)
            rows = []
            for frame in frames:
                moved = follow(view(frame))
                picture = self.portrait(moved)
                if region == "mouth":
                    own = np.linalg.norm((moved.landmarks - source.landmarks)[UPPER, :2], axis=1).max()
                    change = np.abs(picture.astype(int) - self.photo).max(-1)[self.upper > 0]
                    seen = (self.mesh(picture).landmarks - self.seen.landmarks)[UPPER, :2]
                    apart = np.linalg.norm(seen, axis=1).mean()
                    rows.append([own * self.unit, (change > 0).sum(), change.max(), apart * self.unit])
                else:
                    own = np.linalg.norm((moved.shape - source.shape)[:, :2], axis=1).max()
                    rows.append([own * source.pose.scale * self.unit, self.shape_changes(picture)])
            if region == "mouth":
                own, pixels, change, worst = np.max(rows, 0)
                said.append(
                    f"mouth: model {own:.3f}, pixels changed {pixels:.0f} of {self.upper.sum()} (at most by "
                    f"{change:.0f} of 255), MediaPipe mean {np.mean(rows, 0)[3]:.2f} worst frame {worst:.2f}"
                )
            else:
                said.append(
                    f"pose: model {np.max(rows, 0)[0]:.3f}, MediaPipe mean {np.mean(rows, 0)[1]:.2f} "
                    f"worst frame {np.max(rows, 0)[1]:.2f} (of the photo itself, tilted: {self.of_itself():.2f})"
                )
        return "; ".join(said)


def measure(options: Options) -> None:
    with ExitStack() as stack:
        tools = load_tools(ModelSettings(), AnimationSettings(), stack, print)
        assert isinstance(tools, PortraitTools)
        for photo in options.photos:
            sitting = Sitting(photo, tools)
            for clip in options.clips:
                print(f"{photo.name} by {clip.name}: {sitting.measure(clip, options)}", flush=True)


if __name__ == "__main__":
    run(lambda: measure(auto_cli(Options)))
