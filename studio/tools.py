"""What is loaded once and serves any number of files, for either kind of model.

The models of the paper see a photo and a video through two crops alike, and the animated crop goes back into the photo.
Model `face` looks at the video for landmarks only, and animates the photo's own pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from fomm.animator import AnimationSettings, Animator, ModelSettings, SourceDetail
from fomm.animator.face import INTERVAL_S, FaceAnimator, Followed
from fomm.checkpoint import CheckpointInfo
from fomm.errors import InputError
from fomm.model.face import Sitter, Strength
from fomm.progress import Progress
from fomm.video import VideoReader
from preprocess.crop import Crop, Paster, Region, soft_mask
from preprocess.faces import FaceFinder, NoFaceError
from preprocess.pairing import Landmarks, Pairing, Tracked, pair_faces, pair_whole, track_driving
from preprocess.portraits import FoundFace, pair_portrait, pair_whole_portrait
from preprocess.track import TRACK_SCALE

WITHOUT_EFFECT = ("adapt_scale", "best_frame_by", "precision", "batch_size", "detail")  # with model `face`
ROOM = 1.5  # side of what is read around a crop, in its sides
UNLIKE = 0.1  # no model gives a picture of the kind that it knows back with a mean error (of 1) as large as this


def sitter_of(photo: np.ndarray, found: FoundFace, finder: FaceFinder) -> Sitter:
    """A face that was found in a photo (H, W, 3) uint8 RGB, all of which may move."""
    return Sitter(photo, found.mesh, finder.person_at(photo, found.face, Region.whole(photo)))


@dataclass(frozen=True)
class Scene:
    """A photo and a driving video, ready to be animated."""

    # from what `Pairing.view` makes of the driving frames to as many pictures, in order
    animate: Callable[[Iterator[np.ndarray]], Iterable[np.ndarray]]
    # puts such a picture into the full photo; None: it is the result
    paste: Callable[[np.ndarray], np.ndarray] | None
    # what was met on the way that should be told, one sentence each; to be called after the last picture, raises
    # InputError where the result is none
    met: Callable[[], list[str]] = list


@dataclass
class Tools(ABC):
    """A model, and what finds faces for it."""

    animator: Animator | FaceAnimator
    checkpoint: CheckpointInfo
    finder: FaceFinder | None
    landmarks: Landmarks | None
    model: ModelSettings = ModelSettings()  # what was asked for
    tracked: dict[Path, Tracked] = field(default_factory=dict)  # driving videos that were looked through before

    @property
    def faces(self) -> FaceFinder:
        """What finds faces, where faces are looked for."""
        assert self.finder is not None, "`load_tools` makes one unless the settings look for no faces"
        return self.finder

    @property
    def scale(self) -> float:
        """Side of the crop, in face sizes, that the model was trained on."""
        return self.checkpoint.provenance.get("crop_scale") or TRACK_SCALE

    def track(self, reader: VideoReader, progress: Progress) -> Tracked:
        """The faces of a driving video; looked for once."""
        if reader.path not in self.tracked:
            self.tracked[reader.path] = track_driving(reader, self.faces, progress=progress)
        return self.tracked[reader.path]

    @abstractmethod
    def pair(
        self, photo: np.ndarray, source: Path, reader: VideoReader, settings: AnimationSettings, progress: Progress
    ) -> Pairing:
        """Decide what the model sees of both sides."""

    def doubts(self, source: Path, pairing: Pairing) -> list[str]:
        """Whether the picture is of a kind that the model does not know."""
        return []

    @abstractmethod
    def scene(self, photo: np.ndarray, reader: VideoReader, pairing: Pairing, settings: AnimationSettings) -> Scene:
        """The pair, ready to be animated."""

    @abstractmethod
    def used(self, settings: AnimationSettings) -> dict[str, object]:
        """All settings that have an effect, by name."""


@dataclass
class CropTools(Tools):
    """A model of the paper's, and what finds faces for it."""

    animator: Animator

    def __str__(self) -> str:
        size = self.checkpoint.image_size
        return f"at {size}x{size} on {self.animator}"

    def check_parts(self, settings: AnimationSettings) -> None:
        """Raises InputError where the settings ask for parts of a face, which these models do not know."""
        if settings.strengths != AnimationSettings().strengths:
            raise InputError(
                f"--region {settings.region} --strength {settings.strength}: the keypoints of {self.checkpoint.title} "
                "belong to no part of a face, so all of it moves; leave both out, or use --checkpoint face"
            )

    def pair(
        self, photo: np.ndarray, source: Path, reader: VideoReader, settings: AnimationSettings, progress: Progress
    ) -> Pairing:
        self.check_parts(settings)
        size = self.checkpoint.image_size
        landmarks = self.landmarks if settings.best_frame else None
        if not settings.crop:
            return pair_whole(photo, reader, size=size, landmarks=landmarks, progress=progress)
        try:
            driving = self.track(reader, progress)
            return pair_faces(
                photo, source, reader, driving, self.faces, settings, size=size, landmarks=landmarks, progress=progress
            )
        except NoFaceError as error:  # these models animate anything
            raise InputError(f"{error}, or use --crop false") from error

    def doubts(self, source: Path, pairing: Pairing) -> list[str]:
        error = self.animator.reconstruction_error(pairing.source)
        if error <= UNLIKE:
            return []
        return [
            f"{source}: the model cannot reproduce it even at rest (error {error:.2f} of 1), so it is unlike the "
            "pictures that the model was trained on; use a --checkpoint for such pictures"
        ]

    def scene(self, photo: np.ndarray, reader: VideoReader, pairing: Pairing, settings: AnimationSettings) -> Scene:
        animate = partial(self.animator.animate, pairing.source, settings=settings, initial=pairing.initial)
        crop = pairing.source_crop
        if settings.detail == "source":
            return self.detailed(animate, photo, pairing, embed=bool(settings.embed))
        return Scene(animate, Paster(photo, crop) if settings.embed and isinstance(crop, Crop) else None)

    def detailed(
        self, animate: Callable[..., Iterable[np.ndarray]], photo: np.ndarray, pairing: Pairing, *, embed: bool
    ) -> Scene:
        """A scene whose pictures have the photo's own resolution, if that is finer than the model's."""
        crop, size = pairing.source_crop, self.checkpoint.image_size
        paste: Callable[[np.ndarray], np.ndarray] | None = None
        if not isinstance(crop, Crop):
            detail = SourceDetail(photo if min(photo.shape[:2]) >= size else pairing.source, (size, size))
        elif not embed:
            detail = SourceDetail(crop.enlarged(max(size, round(crop.side_px))).apply(photo), (size, size))
        else:
            # What the motion brings in from beyond the crop is there in the photo.
            region = crop.wider(ROOM).region((photo.shape[1], photo.shape[0]))
            there = crop.within(region).matrix
            detail = SourceDetail(region.of(photo), (size, size), there, soft_mask(size))
            paste = partial(region.put, photo)
        return Scene(partial(animate, detail=detail), paste)

    def used(self, settings: AnimationSettings) -> dict[str, object]:
        return {**asdict(self.model), **asdict(settings), "batch_size": self.animator.batch_size}


@dataclass
class PortraitTools(Tools):
    """Model `face`, and what finds faces and landmarks for it."""

    animator: FaceAnimator

    def __str__(self) -> str:
        return f"at the photo's own size on {self.animator}"

    def pair(
        self, photo: np.ndarray, source: Path, reader: VideoReader, settings: AnimationSettings, progress: Progress
    ) -> Pairing:
        if not settings.crop:
            return pair_whole_portrait(photo, source, reader, self.faces, settings, progress=progress)
        driving = self.track(reader, progress)
        return pair_portrait(photo, source, reader, driving, self.faces, settings, progress=progress)

    def scene(self, photo: np.ndarray, reader: VideoReader, pairing: Pairing, settings: AnimationSettings) -> Scene:
        assert pairing.mesh is not None, "`pair` looks for it"
        followed, region = Followed(), pairing.source_crop
        animate = partial(
            self.animator.animate,
            Sitter(pairing.source, pairing.mesh, pairing.person),
            initial=pairing.initial,
            relative=settings.relative,
            strength=Strength(**settings.strengths),
            interval_s=float(1 / reader.fps) if reader.fps else INTERVAL_S,
            followed=followed,
        )
        paste = partial(region.put, photo) if settings.embed and isinstance(region, Region) else None

        def met() -> list[str]:
            if followed.frames and followed.lost == followed.frames:
                raise InputError(f"{reader.path}: no face is seen in any of its {followed.frames} frames; use another")
            return [f"{reader.path}: {said}" for said in followed.doubts()]

        return Scene(animate, paste, met)

    def used(self, settings: AnimationSettings) -> dict[str, object]:
        given = asdict(self.model) | asdict(settings)
        return {name: value for name, value in given.items() if name not in WITHOUT_EFFECT}
