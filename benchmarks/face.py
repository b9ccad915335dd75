"""How well faces are animated: contenders side by side on any folder of clips and photos. Prints one table.

    python benchmarks/face.py --media my_media                                  # still, puppets, face
    python benchmarks/face.py --media my_media --contenders "[still, face]" --parts "[reconstruction]"
    python benchmarks/face.py --media my_media --sheet sheets --parts "[cross]"  # and pictures to look at
    python benchmarks/face.py --media my_media --dlib MODELS_FOLDER             # a second detector, identity

Every clip and photo with a face takes part (`--clips`, `--photos` choose by name); each is seen through one fixed
square crop, 1.6 sides of its (first) face, not turned. The parts:

- reconstruction: source = frame 0 of a clip, driven by the clip; every 10th frame after it, mean of clips. L1 over the
  crop and over the hull of the driving frame's mesh, pixels in [0, 1]; AKD: mean of |dx|, |dy| in pixels at 256.
- cross: every photo x clip, every 3rd frame. Correlation with the driver of what the face does, over pairs whose driver
  does it at all (`expression.VARIES`); blinks followed; error of the change of the head's pose since frame 0, mean of
  yaw, pitch and roll, where the driver's is within 25 degrees; distance to the photo's identity; folds and holes that
  the contender counts; background: pixels well outside the person, in photo and result, that differ by more than one
  level.
- calm: a still driver with sensor noise (sigma 2 of 255), 100 frames. Trembling is measured on the result's pixels, by
  optical flow from the mean result at its landmarks: a detector trembles more by itself. A step: from one frame to
  another, share of the way gone in the second frame after it.
- sharp: a photo whose face is 1500 px (enlarged, with fine grain): variance of the Laplacian inside the face against
  the photo's, under small motion.
- speed: decoding, cropping, animating, pasting, H.264, in a process of its own; the photo is one and a half crops wide,
  or 1080p around a crop of 800 px. Seconds to the first result count from loading the model. memory: the same, 200 and
  2000 frames. Processor time is that of all threads: it hardly feels who else uses the machine.

A contender is a name (`still`, `puppets` or another checkpoint, `face`) or `FILE.py:CLASS`, see `Contender`. Meshes and
dlib's results are kept in `--cache`, by the pictures' content. `--dlib` names the folder with dlib's model files
(`shape_predictor_68_face_landmarks.dat`, whose licence excludes commercial use, and
`dlib_face_recognition_resnet_model_v1.dat`).
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import importlib.util
import math
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, repeat
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np
from jsonargparse import auto_cli

sys.path[:0] = [str(Path(__file__).resolve().parent.parent)]

from benchmarks.page import ratio, table
from fomm import expression
from fomm.download import cache_folder
from fomm.errors import InputError, require, run
from fomm.evaluation.metrics import akd, hull_mask
from fomm.model.face import Sitter
from fomm.model.face.surface import OPENINGS
from fomm.video import VideoReader, VideoWriter, read_image, write_image
from preprocess.crop import Crop, Paster, warp
from preprocess.faces import FaceFinder, face_crop
from preprocess.pairing import resized
from preprocess.portraits import find_portrait, region_around

SCALE = 1.6  # crop side in face sides
SIZE = 256  # pixels at which results are compared
POSE_LIMIT_DEG = 25.0
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
VIDEOS = (".mp4", ".mov", ".webm", ".mkv", ".avi", ".gif")

Part = Literal["reconstruction", "cross", "calm", "sharp", "speed", "memory"]

GOALS = {
    "reconstruction: L1": "<= 0.031",
    "reconstruction: L1, face": "<= 0.026",
    "reconstruction: AKD mesh, px": "<= 0.55",
    "reconstruction: AKD dlib, px": "<= 1.05",
    "reconstruction: identity dlib": "<= 0.27",
    "cross: mouth, correlation": ">= 0.95",
    "cross: eyes, correlation": ">= 0.90",
    "cross: gaze, correlation": ">= 0.85",
    "cross: shut eyes followed, %": ">= 95",
    "cross: pose error, degrees": "<= 2.5",
    "cross: identity dlib": "<= 0.35",
    "cross: folds and holes, pixels a frame": "0",
    "cross: background changed, %": "<= 0.5",
    "calm: trembling, px RMS": "<= 0.1",
    "calm: step followed in 2 frames, %": ">= 90",
    "sharp: Laplacian, ratio": ">= 0.85",
    "speed: frames/s, 256 px": ">= 25",
    "speed: frames/s, 512 px": ">= 15",
    "speed: frames/s, 1080p": ">= 10",
    "speed: s to the first, 1080p": "<= 3",
}


@dataclass(frozen=True)
class Options:
    """Measure.

    Args:
        media: folder of clips and photos.
        contenders: names, or FILE.py:CLASS.
        parts: what to measure; by default all but speed and memory.
        clips: names of the clips to use, without suffix; by default all with a face.
        photos: the same for photos.
        unseen: photo name -> what cannot be seen in it (mouth, eyes, gaze, brows), left out of the correlations.
        every: in `cross`, measure every so many frames.
        dlib: folder with dlib's model files.
        sheet: folder for contact sheets, one for each photo x clip; rows: driver, contenders.
        sheet_size: side of a picture on them, at which the photo is animated.
        details: write all values of all pairs to this CSV file.
        cache: folder for meshes and the like.
        threads: for networks and OpenCV; by default what they take.
        frames: driving frames in `speed`.
        memory_frames: driving frames in `memory`.
    """

    media: Path
    contenders: list[str] = field(default_factory=lambda: ["still", "puppets", "face"])
    parts: list[Part] = field(default_factory=lambda: ["reconstruction", "cross", "calm", "sharp"])
    clips: list[str] | None = None
    photos: list[str] | None = None
    unseen: dict[str, list[str]] = field(default_factory=dict)
    every: int = 3
    dlib: Path | None = None
    sheet: Path | None = None
    sheet_size: int = 384
    details: Path | None = None
    cache: Path | None = None
    threads: int | None = None
    frames: int = 150
    memory_frames: list[int] = field(default_factory=lambda: [200, 2000])


# ---------------------------------------------------------------------------------------------------------------------
# Contenders


class Contender(Protocol):
    """Animates a picture.

    It may also have (all optional):
        temporal: bool, True where it has to see every frame in its order (it filters in time); otherwise it is shown
            only those that are measured.
        faults: list of int, folds and holes (pixels of the result) inside the head, one for each frame yielded so far.
        stream: what is timed in the place of animate, which may count and look on the way.
        landmarks: list of (478, 2), where it put the landmarks in each result so far, in the result's pixels.
        stage_ms: dict of str to float, mean milliseconds by stage.
        whole: bool, True where it animates whole photos by itself and needs no crop and paste in `speed`.
    """

    name: str

    def animate(self, source: np.ndarray, driving: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The source (H, W, 3) uint8 in the pose of each frame (h, w, 3) uint8; the first is the initial one."""
        ...


class Still:
    name = "still"

    def animate(self, source: np.ndarray, driving: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for _ in driving:
            yield source


class Keypoints:
    """A model with learnt keypoints; it sees square pictures of its own size."""

    def __init__(self, name: str, animator: Any, size: int) -> None:
        self.name, self._animator, self._size = name, animator, size

    def animate(self, source: np.ndarray, driving: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        frames = (resized(frame, self._size) for frame in driving)
        for result in self._animator.animate(resized(source, self._size), frames):
            yield resized(result, source.shape[0])


class Landmarks:
    """A model whose motion comes from the face's mesh; it sees pictures of any size."""

    temporal = True

    whole = True

    def __init__(self, name: str, animator: Any) -> None:
        self.name, self._animator = name, animator
        self.faults: list[int] = []

    def stream(self, photo: np.ndarray, driving: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The whole photo as `infer.py` makes it: frames side by side, nothing counted."""
        finder = self._animator.observer
        _, face, mesh = find_portrait(photo, Path("photo"), finder, None)
        region = region_around(face, photo.shape, 0.0)
        person = finder.person_at(photo, face, region)
        sitter = Sitter(region.of(photo), mesh - [region.left, region.top, 0], person)
        for result in self._animator.animate(sitter, driving):
            yield region.put(photo, result)

    def animate(self, source: np.ndarray, driving: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        self.faults = []
        portrait = self._animator.portrait(self._animator.sit(source))
        follow = self._animator.follow(portrait.source)
        for frame in driving:
            moved = follow(frame)
            self.faults.append(folds_and_holes(portrait.surface, moved, (source.shape[1], source.shape[0])))
            yield portrait(moved)


def folds_and_holes(surface: Any, moved: Any, size_wh: tuple[int, int]) -> int:
    """Pixels inside the moved face's outline in which the surface is not seen at all, or shows the photo mirrored."""
    vertices = surface.vertices(moved)
    field = surface.field(vertices, np.eye(2, 3), size_wh)
    inside = cv2.erode(hull_mask(vertices[:468, :2], *size_wh[::-1]).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    drawn, shown = (areas(points[surface.triangles]) for points in (vertices[:, :2], surface.photo_points_of(moved)[0]))
    mirrored = drawn * shown < 0
    mirrored[: surface.face[0] + len(OPENINGS)] = False  # hair and neck; what lies behind lids and lips is layers'
    return int((inside & (~field.covered | mirrored[field.triangle])).sum())


def areas(triangles: np.ndarray) -> np.ndarray:
    """Twice the areas (T,) of triangles (T, 3, 2), below 0 for those that run the other way."""
    one, two = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return one[:, 0] * two[:, 1] - one[:, 1] * two[:, 0]


def load(name: str) -> Contender:
    """A contender by its name, or from FILE.py:CLASS."""
    if name == "still":
        return Still()
    if ".py:" in name:
        file, _, kind = name.rpartition(":")
        require(Path(file).is_file(), f"{file}: there is no such file; a contender is a name or FILE.py:CLASS")
        spec = importlib.util.spec_from_file_location(Path(file).stem, file)
        assert spec is not None and spec.loader is not None, "a .py file has both"
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, kind)()
    from fomm.animator import Animator
    from fomm.checkpoint import load_model
    from fomm.model import FOMM

    model, info = load_model(name)
    if isinstance(model, FOMM):
        return Keypoints(name, Animator(model), info.image_size)
    from fomm.animator.face import FaceAnimator

    return Landmarks(name, FaceAnimator(model, FaceFinder))


@dataclass(frozen=True)
class Take:
    """One measured frame of an animation."""

    index: int  # among the measured ones
    driving: np.ndarray
    result: np.ndarray
    faults: int | None


def perform(contender: Contender, source: np.ndarray, frames: Sequence[np.ndarray], every: int) -> Iterator[Take]:
    """Animate, and yield every so-manieth frame, the first included."""
    temporal = getattr(contender, "temporal", False)
    shown, step = (frames, every) if temporal else (frames[::every], 1)
    for number, result in enumerate(contender.animate(source, iter(shown))):
        if number % step == 0:
            faults = getattr(contender, "faults", None)
            yield Take(number // step, shown[number], result, None if faults is None else faults[number])


# ---------------------------------------------------------------------------------------------------------------------
# What is seen in pictures, kept by their content


class Store:
    """Arrays by name and content of a picture, in one file."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = sqlite3.connect(folder / "seen.sqlite", timeout=60)
        self._file.execute("CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY, value BLOB)")

    def __call__(self, kind: str, picture: np.ndarray, compute: Callable[[], np.ndarray | None]) -> np.ndarray | None:
        """What `compute` returns, a float array of two axes or None."""
        digest = hashlib.sha256(np.ascontiguousarray(picture).data).hexdigest()
        key = f"{kind} {picture.shape} {digest}"
        row = self._file.execute("SELECT value FROM seen WHERE key = ?", (key,)).fetchone()
        if row is None:
            value = compute()
            blob = b"" if value is None else np.int32(value.shape[1]).tobytes() + np.float32(value).tobytes()
            self._file.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (key, blob))
            self._file.commit()
            row = (blob,)
        if not row[0]:
            return None
        return np.frombuffer(row[0], np.float32, offset=4).reshape(-1, np.frombuffer(row[0], np.int32, 1)[0])


class Eyes:
    """All detectors, through the store."""

    def __init__(self, store: Store, finder: FaceFinder, dlib_models: Path | None) -> None:
        self._store, self.finder = store, finder
        self._dlib = Dlib(dlib_models) if dlib_models else None

    @property
    def has_dlib(self) -> bool:
        return self._dlib is not None

    def mesh(self, picture: np.ndarray) -> np.ndarray | None:
        """(478, 3) in the picture's pixels."""
        return self._store("mesh", picture, lambda: self.finder.mesh(picture))

    def person(self, picture: np.ndarray) -> np.ndarray:
        """(H, W) bool, generous: what the segmentation may take for a person, the head around the mesh, a margin."""
        size = picture.shape[0]
        mask = self.finder.person(picture) > 0.1
        mesh = self.mesh(picture)
        if mesh is not None:
            points = mesh[:, :2]
            mask |= hull_mask(points.mean(0) + 1.3 * (points - points.mean(0)), size, size)
        reach = 2 * (size // 25) + 1
        return cv2.dilate(mask.astype(np.uint8), np.ones((reach, reach), np.uint8)).astype(bool)

    def face_68(self, picture: np.ndarray) -> np.ndarray | None:
        """dlib's landmarks (68, 2), or None where its detector sees no face."""
        dlib = self._dlib
        assert dlib is not None, "asked only where `has_dlib`"
        return self._store("dlib68 strict", picture, lambda: dlib.landmarks(picture))

    def identity(self, picture: np.ndarray) -> np.ndarray | None:
        """dlib's (1, 128) embedding; two pictures of a person are less than 0.6 apart."""

        dlib = self._dlib
        assert dlib is not None, "asked only where `has_dlib`"

        def compute() -> np.ndarray | None:
            points = self.face_68(picture)
            if points is None and (mesh := self.mesh(picture)) is not None:
                points = dlib.landmarks(picture, mesh)
            return None if points is None else dlib.embedding(picture, points)

        return self._store("dlib128", picture, compute)


class Dlib:
    """dlib's landmarks and identity network."""

    def __init__(self, models: Path) -> None:
        try:
            self._dlib = importlib.import_module("dlib")
        except ImportError as error:
            raise InputError(f"dlib cannot be loaded ({error}); put it on PYTHONPATH, or leave out --dlib") from error
        files = [models / f"{name}.dat" for name in ("shape_predictor_68_face_landmarks",)]
        files += [models / "dlib_face_recognition_resnet_model_v1.dat"]
        for file in files:
            require(file.is_file(), f"{file}: there is no such file; --dlib names the folder with dlib's model files")
        self._detect = self._dlib.get_frontal_face_detector()
        self._shape = self._dlib.shape_predictor(str(files[0]))
        self._embed = self._dlib.face_recognition_model_v1(str(files[1]))

    def landmarks(self, picture: np.ndarray, mesh: np.ndarray | None = None) -> np.ndarray | None:
        """(68, 2) in the box of the mesh (478, 3), or of the largest face that dlib's detector sees."""
        if mesh is not None:
            (left, _), (right, bottom) = mesh[:, :2].min(0), mesh[:, :2].max(0)
            box = self._dlib.rectangle(int(left), int(bottom - (right - left)), int(right), int(bottom))
        else:
            box = max(self._detect(picture, 1), key=lambda box: box.area(), default=None)
        if box is None:
            return None
        return np.array([(point.x, point.y) for point in self._shape(picture, box).parts()], np.float32)

    def embedding(self, picture: np.ndarray, points: np.ndarray) -> np.ndarray:
        """(1, 128) of the face with landmarks (68, 2)."""
        (left, top), (right, bottom) = points.min(0), points.max(0)
        box = self._dlib.rectangle(int(left), int(top), int(right), int(bottom))
        shape = self._dlib.full_object_detection(box, [self._dlib.point(int(x), int(y)) for x, y in points])
        return np.array(self._embed.compute_face_descriptor(picture, shape), np.float32)[None]


# ---------------------------------------------------------------------------------------------------------------------
# Clips and photos


@dataclass(eq=False)
class Clip:
    """A clip with a face in its first frame, seen through one fixed crop of SIZE pixels."""

    name: str
    path: Path
    crop: Crop
    frames: list[np.ndarray]  # of SIZE x SIZE


@dataclass(eq=False)
class Photo:
    """A photo with a face; `crop` has SIZE pixels."""

    name: str
    path: Path
    picture: np.ndarray
    crop: Crop
    turned_deg: float  # how far the face is from looking straight ahead and upright

    @property
    def source(self) -> np.ndarray:
        return self.crop.apply(self.picture)


def sized(crop: Crop, size: int) -> Crop:
    """The same square of the picture at another number of pixels."""
    factor = size / crop.size
    return Crop(factor * crop.matrix + [[0, 0, (factor - 1) / 2]] * 2, size)


def files_of(folder: Path, suffixes: Sequence[str], names: list[str] | None) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if names is None:
        return files
    missing = set(names) - {path.stem for path in files}
    require(not missing, f"{folder}: has no {', '.join(sorted(missing))}; choose from {[f.stem for f in files]}")
    return [path for path in files if path.stem in names]


def read_clips(options: Options, eyes: Eyes) -> list[Clip]:
    clips = []
    for path in files_of(options.media, VIDEOS, options.clips):
        reader = VideoReader(path, threads=options.threads or 0)
        faces = eyes.finder.find(next(iter(reader)).image)
        if faces:
            crop = face_crop(faces[0], SIZE, scale=SCALE, derotate=False)
            clips.append(Clip(path.stem, path, crop, [crop.apply(frame.image) for frame in reader]))
        else:
            print(f"{path.name}: no face in its first frame, left out")
    return clips


def read_photos(options: Options, eyes: Eyes) -> list[Photo]:
    photos = []
    for path in files_of(options.media, PICTURES, options.photos):
        picture = read_image(path)
        faces = eyes.finder.find(picture)
        if faces:
            face, crop = faces[0], face_crop(faces[0], SIZE, scale=SCALE, derotate=False)
            turned = max(map(abs, (face.roll_deg, face.yaw_deg, face.pitch_deg)))
            photos.append(Photo(path.stem, path, picture, crop, turned))
        else:
            print(f"{path.name}: no face, left out")
    return photos


# ---------------------------------------------------------------------------------------------------------------------
# Measures of pictures and series


def l1(one: np.ndarray, other: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Mean |difference| of pictures (H, W, 3) uint8, of 1; inside `mask` (H, W) bool where given.

    >>> l1(np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 51, np.uint8))
    0.2
    """
    difference = cv2.absdiff(one, other)
    return float((difference if mask is None else difference[mask]).mean(dtype=np.float64) / 255)


def changed_share(photo: np.ndarray, result: np.ndarray, still: np.ndarray) -> float:
    """Share of the pixels in `still` (H, W) bool that differ by more than one level in any channel; NaN for none."""
    changed = cv2.absdiff(photo, result).max(-1) > 1
    return float(changed[still].mean()) if still.any() else math.nan


def laplacian_variance(picture: np.ndarray, mask: np.ndarray) -> float:
    """Variance of the Laplacian of a picture's grey values inside `mask` (H, W) bool."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(cv2.Laplacian(grey, cv2.CV_32F)[mask].var())


def trembling(results: Sequence[np.ndarray], points: np.ndarray) -> float:
    """RMS in pixels by which points (N, 2) of pictures that should all be the same move about their mean place.

    By optical flow (Lucas-Kanade) from the mean picture to each; points without texture are left out.
    """
    greys = [cv2.cvtColor(result, cv2.COLOR_RGB2GRAY) for result in results]
    mean = np.round(np.mean(greys, 0)).astype(np.uint8)
    start = np.ascontiguousarray(points[:, None], np.float32)
    options = {"winSize": (15, 15), "maxLevel": 1, "criteria": (3, 50, 1e-3), "minEigThreshold": 1e-3}
    moves, found = [], np.ones(len(points), bool)
    for grey in greys:
        place, status, _ = cv2.calcOpticalFlowPyrLK(mean, grey, start, None, **options)
        moves.append((place - start)[:, 0])
        found &= status[:, 0] == 1
    return rms(np.array(moves)[:, found])


def step_share(before: np.ndarray, then: np.ndarray, after: np.ndarray) -> float:
    """Share of the way from landmarks `before` (N, 2) to `after` that `then` has gone; 1 = arrived.

    >>> step_share(np.zeros((1, 2)), np.array([[3.0, 0.0]]), np.array([[4.0, 0.0]]))
    0.75
    """
    way = after - before
    return float(((then - before) * way).sum() / np.square(way).sum())


def distance(one: np.ndarray | None, other: np.ndarray | None) -> float:
    """Between two embeddings; NaN where one is missing."""
    return math.nan if one is None or other is None else float(np.linalg.norm(one - other))


def mean(values: Iterable[float]) -> float:
    """Of those that are there; NaN for none."""
    there = [value for value in values if math.isfinite(value)]
    return float(np.mean(there)) if there else math.nan


# ---------------------------------------------------------------------------------------------------------------------
# The parts: each yields values of one contender


class Value(NamedTuple):
    """One number: what was measured, and on what."""

    measure: str
    case: str
    value: float


def reconstruction(contender: Contender, clips: Sequence[Clip], eyes: Eyes) -> Iterator[Value]:
    for clip in clips:
        rows: dict[str, list[float]] = {}
        for take in perform(contender, clip.frames[0], clip.frames, 10):
            if take.index == 0:
                continue  # it is the source
            truth, result = take.driving, take.result
            wanted, shown = eyes.mesh(truth), eyes.mesh(result)
            if wanted is None:
                continue
            row = {
                "L1": l1(result, truth),
                "L1, face": l1(result, truth, hull_mask(wanted[:, :2], SIZE, SIZE)),
                "AKD mesh, px": math.nan if shown is None else float(akd(shown[:, :2], wanted[:, :2])),
            }
            if eyes.has_dlib:
                points, true_points = eyes.face_68(result), eyes.face_68(truth)
                error = None if points is None or true_points is None else float(akd(points, true_points))
                row["AKD dlib, px"] = math.nan if error is None else error
                row["frames without a dlib face, %"] = 100.0 if error is None else 0.0
                row["identity dlib"] = distance(eyes.identity(result), eyes.identity(truth))
            for name, value in row.items():
                rows.setdefault(name, []).append(value)
        for name, values in rows.items():
            yield Value(f"reconstruction: {name}", clip.name, mean(values))


def cross(
    contender: Contender, photos: Sequence[Photo], clips: Sequence[Clip], eyes: Eyes, options: Options
) -> Iterator[Value]:
    for photo in photos:
        source = photo.source
        person = eyes.person(source)
        own = eyes.identity(source) if eyes.has_dlib else None
        unseen = options.unseen.get(photo.name, [])
        for clip in clips:
            case = f"{photo.name} x {clip.name}"
            takes = list(perform(contender, source, clip.frames, options.every))
            driver, shown = [eyes.mesh(t.driving) for t in takes], [eyes.mesh(t.result) for t in takes]
            there = [a is not None and b is not None for a, b in zip(driver, shown, strict=True)]
            yield Value("cross: frames without a face, %", case, 100 * (1 - float(np.mean(there))))
            if driver[0] is not None and shown[0] is not None:
                wanted, got = (np.array([m for m, ok in zip(s, there, strict=True) if ok]) for s in (driver, shown))
                for name, value in follow(wanted, got, unseen).items():
                    yield Value(f"cross: {name}", case, value)
            if own is not None:
                distances = (distance(eyes.identity(take.result), own) for take in takes[1::4])
                yield Value("cross: identity dlib", case, mean(distances))
            if faults := [take.faults for take in takes if take.faults is not None]:
                yield Value("cross: folds and holes, pixels a frame", case, mean(faults))
            stills = [~(person | eyes.person(take.result)) for take in takes[1::4]]
            changes = [changed_share(source, t.result, s) for t, s in zip(takes[1::4], stills, strict=True)]
            yield Value("cross: background changed, %", case, 100 * mean(changes))
            yield Value("cross: background judged, % of the picture", case, 100 * float(np.mean(stills)))


def follow(driver: np.ndarray, shown: np.ndarray, unseen: Sequence[str]) -> dict[str, float]:
    """How a result's meshes (T, 478, 3) follow the driver's; the first is the initial one.

    What the driver does not do (`expression.VARIES`), or what is `unseen` in the photo, is left out.
    """
    values: dict[str, float] = {}
    open_eyes = expression.eye_opening(driver) > expression.EYES_OPEN  # behind lids, the mesh only guesses the irises
    seen: dict[str, tuple[np.ndarray, np.ndarray]] = {
        "mouth": (expression.mouth_opening(driver), expression.mouth_opening(shown)),
        "eyes": (expression.eye_opening(driver), expression.eye_opening(shown)),
        "gaze": (expression.gaze(driver)[open_eyes], expression.gaze(shown)[open_eyes]),
        "brows": (expression.brow_height(driver), expression.brow_height(shown)),
    }
    for name, (wanted, got) in seen.items():
        if name in unseen or not len(wanted) or np.sqrt(wanted.var(0).sum()) < expression.VARIES[name]:
            continue
        values[f"{name}, correlation"] = expression.correlation(wanted, got)
        if name in ("mouth", "eyes"):
            values[f"{name}, slope"] = expression.slope(wanted, got)
    shut = seen["eyes"][0] < expression.EYES_SHUT[0]
    if "eyes" not in unseen and shut.any():
        values["shut eyes followed, %"] = 100 * expression.share_followed(
            shut, seen["eyes"][1] < expression.EYES_SHUT[1]
        )
        values["eye opening when shut"] = float(seen["eyes"][1][shut].mean())
    wanted, got = (expression.pose_angles(expression.head_rotation(side, side[0])) for side in (driver, shown))
    near = (np.abs(wanted) <= POSE_LIMIT_DEG).all(-1)
    errors = np.abs(got - wanted)[near].mean(0)
    values["pose error, degrees"] = float(errors.mean())
    values |= {f"{name} error, degrees": float(e) for name, e in zip(("yaw", "pitch", "roll"), errors, strict=True)}
    return values


# ---------------------------------------------------------------------------------------------------------------------
# Calm, sharpness


def calm(contender: Contender, photos: Sequence[Photo], clips: Sequence[Clip], eyes: Eyes) -> Iterator[Value]:
    photo = straightest(photos)
    for clip in clips:
        case = f"{photo.name} x {clip.name}"
        rng = np.random.default_rng(0)
        noisy = [with_noise(clip.frames[0], 2.0, rng) for _ in range(100)]
        results = [take.result for take in perform(contender, photo.source, noisy, 1)]
        if hasattr(contender, "landmarks"):
            yield Value("calm: trembling of its own landmarks, px RMS", case, rms(np.array(contender.landmarks)))
        meshes = [mesh for result in results if (mesh := eyes.mesh(result)) is not None]
        if len(meshes) == len(results):
            yield Value("calm: trembling, px RMS", case, trembling(results, meshes[0][:468, :2]))
            yield Value("calm: trembling with the detector's own, px RMS", case, rms(np.array(meshes)[..., :2]))
        frames = clip.frames[:: max(1, len(clip.frames) // 20)]
        driver = [eyes.mesh(frame) for frame in frames]
        far = [0.0 if m is None or driver[0] is None else float(akd(m, driver[0])) for m in driver]
        two = [frames[0]] * 10 + [frames[int(np.argmax(far))]] * 10
        steps = [take.result for take in perform(contender, photo.source, two, 1)]
        before, then, after = (eyes.mesh(steps[index]) for index in (9, 11, 19))  # 11: the second frame after the step
        if before is not None and then is not None and after is not None:
            before, then, after = before[:, :2], then[:, :2], after[:, :2]
            share = step_share(before, then, after) if akd(before, after) > 0.01 else 0.0  # a still picture goes no way
            yield Value("calm: step followed in 2 frames, %", case, 100 * share)


def straightest(photos: Sequence[Photo]) -> Photo:
    """The photo whose face is turned least."""
    require(bool(photos), "no photo with a face; give --media a folder that has one")
    return min(photos, key=lambda photo: photo.turned_deg)


def with_noise(picture: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    noisy = picture + rng.normal(0, sigma, picture.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def rms(points: np.ndarray) -> float:
    """RMS distance of points (T, N, 2) from their mean over time.

    >>> rms(np.array([[[0.0, 0.0]], [[2.0, 0.0]]]))
    1.0
    """
    return float(np.sqrt(np.square(points - points.mean(0)).sum(-1).mean()))


def sharp(contender: Contender, photos: Sequence[Photo], clips: Sequence[Clip], eyes: Eyes) -> Iterator[Value]:
    photo = max(photos, key=lambda photo: photo.crop.side_px)
    side = round(SCALE * 1500)
    fine = enlarged(photo, side)
    mesh = eyes.mesh(fine)
    if mesh is None:
        return
    wanted = laplacian_variance(fine, face_inside(mesh, side))
    for clip in sorted(clips, key=lambda clip: travel(clip, eyes))[:2]:
        ratios = []
        for take in perform(contender, fine, clip.frames[:31], 6):
            seen = eyes.mesh(take.result)
            if take.index and seen is not None:
                ratios.append(laplacian_variance(take.result, face_inside(seen, side)) / wanted)
        yield Value("sharp: Laplacian, ratio", f"{photo.name} x {clip.name}", mean(ratios))


def enlarged(photo: Photo, side: int) -> np.ndarray:
    """The photo's crop at side x side, with grain as fine as a camera of that many pixels would have."""
    grain = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 20, (side, side)).astype(np.float32), (0, 0), 1.0)
    crop = sized(photo.crop, side).apply(photo.picture)
    return np.clip(np.round(crop + grain[..., None]), 0, 255).astype(np.uint8)


def face_inside(mesh: np.ndarray, size: int) -> np.ndarray:
    """The face's hull, a little smaller, as a mask (size, size)."""
    points = mesh[:468, :2]
    return hull_mask(points.mean(0) + 0.9 * (points - points.mean(0)), size, size)


def travel(clip: Clip, eyes: Eyes) -> float:
    """How far the clip's landmarks go from frame 0 in its first second."""
    first, *meshes = [eyes.mesh(frame) for frame in clip.frames[:31:6]]
    return max((float(akd(m, first)) for m in meshes if m is not None and first is not None), default=math.inf)


# ---------------------------------------------------------------------------------------------------------------------
# Speed and memory, in processes of their own


def speed(name: str, photo: Path, clip: Path, options: Options) -> Iterator[Value]:
    for label, side, size_wh in (
        ("256 px", 256, (384, 384)),
        ("512 px", 512, (768, 768)),
        ("1080p", 800, (1920, 1080)),
    ):
        seen = in_fresh_process(name, photo, clip, side, size_wh, options.frames, options.threads)
        yield Value(f"speed: frames/s, {label}", clip.stem, seen["fps"])
        yield Value(f"speed: processor ms a frame, {label}", clip.stem, seen["processor_ms"])
        yield Value(f"speed: s to the first, {label}", clip.stem, seen["first_s"])
        for stage, milliseconds in seen["stages"].items():
            yield Value(f"speed: ms {stage}, {label}", clip.stem, milliseconds)


def memory(name: str, photo: Path, clip: Path, options: Options) -> Iterator[Value]:
    for count in options.memory_frames:
        seen = in_fresh_process(name, photo, clip, 512, (768, 768), count, options.threads)
        yield Value(f"memory: peak MB, {count} frames", clip.stem, seen["peak_mb"])


def in_fresh_process(*arguments: object) -> dict[str, Any]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(whole_path, arguments)


def whole_path(
    name: str, photo: Path, clip: Path, side: int, size_wh: tuple[int, int], count: int, threads: int | None
) -> dict[str, Any]:
    """Decode, crop, animate, paste and encode `count` frames; the photo is as `prepared` makes it."""
    set_threads(threads)
    picture, crop, view = prepared(photo, clip, side, size_wh)
    spent: dict[str, float] = {}
    begun = time.perf_counter()
    contender = load(name)
    decoded = (frame.image for _ in repeat(None) for frame in VideoReader(clip, threads=threads or 0))
    frames = timed("decode", islice(decoded, count), spent)
    driving = timed("crop", (view.apply(frame) for frame in frames), spent)
    whole = getattr(contender, "whole", False)
    paste = (lambda result: result) if whole else Paster(picture, crop)
    first = busy = 0.0
    with tempfile.TemporaryDirectory() as folder:
        with VideoWriter(Path(folder) / "result.mp4", fps=Fraction(25)) as writer:
            animate = getattr(contender, "stream", contender.animate)
            results = animate(picture if whole else crop.apply(picture), driving)
            for result in timed("animate", results, spent):
                for stage, work in (("paste", paste), ("encode", writer.write)):
                    started = time.perf_counter()
                    result = work(result)
                    spent[stage] = spent.get(stage, 0.0) + time.perf_counter() - started
                if not first:
                    first, busy = time.perf_counter() - begun, time.process_time()
        total, busy = time.perf_counter() - begun, time.process_time() - busy
    spent["animate"] -= spent["crop"]  # a stream's time includes what it pulls from
    spent["crop"] -= spent["decode"]
    stages = {stage: 1e3 * seconds / count for stage, seconds in spent.items()}
    stages |= {f"animate.{stage}": value for stage, value in getattr(contender, "stage_ms", {}).items()}
    rates = {"fps": (count - 1) / (total - first), "processor_ms": 1e3 * busy / (count - 1)}
    return rates | {"first_s": first, "stages": stages, "peak_mb": peak_mb()}


def prepared(photo: Path, clip: Path, side: int, size_wh: tuple[int, int]) -> tuple[np.ndarray, Crop, Crop]:
    """The photo at `size_wh`, scaled so that its face's crop has `side` pixels; that crop; the clip's."""
    with FaceFinder() as finder:
        picture = read_image(photo)
        face = finder.find(picture)[0]
        factor = side / face_crop(face, side, scale=SCALE, derotate=False).side_px
        shift = np.round((np.array(size_wh) - 1) / 2 - factor * face.centre_px)
        matrix = np.column_stack([factor * np.eye(2), shift])
        picture = warp(picture, matrix, size_wh)
        crop = face_crop(finder.find(picture)[0], side, scale=SCALE, derotate=False)
        first = next(iter(VideoReader(clip, threads=1))).image
        return picture, crop, face_crop(finder.find(first)[0], SIZE, scale=SCALE, derotate=False)


def timed(stage: str, stream: Iterable[Any], spent: dict[str, float]) -> Iterator[Any]:
    """The stream; seconds spent waiting for it are added to `spent`."""
    items = iter(stream)
    while True:
        begun = time.perf_counter()
        item = next(items, None)
        spent[stage] = spent.get(stage, 0.0) + time.perf_counter() - begun
        if item is None:
            return
        yield item


def peak_mb() -> float:
    """Most memory that this process has held."""
    status = Path("/proc/self/status")  # Linux's rusage would count the parent's peak
    if status.is_file():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) / 1e3
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


# ---------------------------------------------------------------------------------------------------------------------
# Contact sheets


def write_sheets(
    folder: Path, contenders: Sequence[Contender], photos: Sequence[Photo], clips: Sequence[Clip], eyes: Eyes, size: int
) -> None:
    """One PNG for each photo x clip: the clip's extremes; rows are the driver and each contender."""
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips:
        chosen = extremes(clip, eyes)
        numbers = list(chosen.values())
        drivers = [resized(clip.frames[number], size) for number in numbers]
        for photo in photos:
            source = sized(photo.crop, size).apply(photo.picture)
            rows = [[labelled(source, photo.name), *map(labelled, drivers, chosen)]]
            for contender in contenders:
                results = at_frames(contender, source, clip.frames, numbers)
                rows.append([labelled(source, contender.name), *results])
            write_image(folder / f"{photo.name}__{clip.name}.png", np.vstack([np.hstack(row) for row in rows]))


def extremes(clip: Clip, eyes: Eyes) -> dict[str, int]:
    """Label -> frame number: the first, and where mouth, eyes and pose are furthest."""
    seen = [(number, eyes.mesh(clip.frames[number])) for number in range(0, len(clip.frames), 2)]
    numbers = [number for number, mesh in seen if mesh is not None]
    if not numbers:
        return {"first": 0}
    meshes = np.array([mesh for _, mesh in seen if mesh is not None])
    yaw, pitch, _ = expression.pose_angles(expression.head_rotation(meshes, meshes[0])).T
    found = {
        "mouth": expression.mouth_opening(meshes).argmax(),
        "eyes": expression.eye_opening(meshes).argmin(),
        "left": yaw.argmin(),
        "right": yaw.argmax(),
        "down": pitch.argmin(),
        "up": pitch.argmax(),
    }
    return {"first": 0} | {f"{label} ({numbers[place]})": numbers[place] for label, place in found.items()}


def at_frames(
    contender: Contender, source: np.ndarray, frames: Sequence[np.ndarray], wanted: Sequence[int]
) -> list[np.ndarray]:
    """Results at some frames, the first being the initial one; what filters in time sees eight frames before each."""
    lead = 8 if getattr(contender, "temporal", False) else 0
    shown = [0, *sorted({n for number in wanted for n in range(max(1, number - lead), number + 1)})]
    wanted_places = {shown.index(number) for number in wanted}
    results = {}
    for place, result in enumerate(contender.animate(source, (frames[number] for number in shown))):
        if place in wanted_places:
            results[shown[place]] = result
    return [results[number] for number in wanted]


def labelled(picture: np.ndarray, text: str) -> np.ndarray:
    picture = picture.copy()
    for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(picture, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width, cv2.LINE_AA)
    return picture


# ---------------------------------------------------------------------------------------------------------------------
# The table


def print_means(values: dict[str, list[Value]]) -> None:
    """Means over cases, one column for each contender."""
    names = list(dict.fromkeys(value.measure for column in values.values() for value in column))
    head = ["mean over cases", *values, "goal", "cases"]
    rows = []
    for name in names:
        cells = [[v.value for v in column if v.measure == name] for column in values.values()]
        counts = max(sum(math.isfinite(v) for v in cell) for cell in cells)
        rows.append([name, *(shown(mean(cell)) for cell in cells), GOALS.get(name, ""), str(counts)])
    table(head, rows)


def shown(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.4f}" if abs(value) < 0.1 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def main(options: Options) -> None:
    require(options.media.is_dir(), f"{options.media}: is not a folder; --media names one with clips and photos")
    set_threads(options.threads)
    store = Store(options.cache or cache_folder() / "benchmarks")
    values: dict[str, list[Value]] = {}
    with FaceFinder() as finder:
        eyes = Eyes(store, finder, options.dlib)
        clips = read_clips(options, eyes)
        photos = [] if options.parts == ["reconstruction"] and not options.sheet else read_photos(options, eyes)
        print(f"clips: {', '.join(clip.name for clip in clips)}; photos: {', '.join(photo.name for photo in photos)}")
        contenders = {name: load(name) for name in options.contenders}
        for name, contender in contenders.items():
            column = values.setdefault(contender.name, [])
            for part in options.parts:
                begun = time.monotonic()
                column += measured(part, name, contender, photos, clips, eyes, options)
                print(f"{contender.name}: {part} took {time.monotonic() - begun:.0f} s", file=sys.stderr)
        if options.sheet:
            write_sheets(options.sheet, list(contenders.values()), photos, clips, eyes, options.sheet_size)
    print_means(values)
    first, *others = values
    for measure in ("speed: frames/s, 256 px", "speed: frames/s, 512 px", "speed: frames/s, 1080p"):
        for name in others if "speed" in options.parts else []:
            one, own = (mean(v.value for v in values[n] if v.measure == measure) for n in (first, name))
            ratio(f"{measure}, {name}, times as fast as {first}", own / one)
    if options.details:
        with open(options.details, "w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["contender", "measure", "case", "value"])
            writer.writerows((name, *value) for name, column in values.items() for value in column)


def measured(
    part: Part,
    name: str,
    contender: Contender,
    photos: Sequence[Photo],
    clips: Sequence[Clip],
    eyes: Eyes,
    options: Options,
) -> Iterable[Value]:
    """The values of one part for one contender."""
    if part == "reconstruction":
        return reconstruction(contender, clips, eyes)
    if part == "cross":
        return cross(contender, photos, clips, eyes, options)
    if part == "calm":
        return calm(contender, photos, clips, eyes)
    if part == "sharp":
        return sharp(contender, photos, clips, eyes)
    whole = speed if part == "speed" else memory
    return whole(name, straightest(photos).path, clips[0].path, options)


def set_threads(count: int | None) -> None:
    if count:
        import torch

        torch.set_num_threads(count)
        cv2.setNumThreads(count)


if __name__ == "__main__":
    run(lambda: main(auto_cli(Options, as_positional=False)))
