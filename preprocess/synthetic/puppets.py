"""Procedurally drawn talking heads with exact landmarks, box and pose: data that needs no download.

An `Identity` says how a puppet looks and is a pure function of a seed; a `Pose` says what it does and knows nothing of
who does it, so that every puppet can be drawn with every motion. A `Camera` cuts a picture out of the flat scene that
the puppet lives in; `framing` finds it as training crops are found.

    person, motion = random_identity(1), random_motion(2, frames=50)
    camera = framing(person, motion)
    image, landmarks_px, face_box_xyxy_px, pose = draw(person, motion[0], 256, camera)

`write_puppets` draws a training set, `write_puppet_pairs` cross-identity animation with its exact answer, `write_demo`
the portrait and the clip with sound of the demonstration. Model and coordinates: `puppet_model`; drawing:
`puppet_painter`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np

from fomm.errors import InputError, require, require_at_least
from fomm.files import atomic_output, require_new
from fomm.manifest import Clip, Pair, hash_clip, write_manifest, write_pairs
from fomm.video import write_image
from preprocess.synthetic.drawing import draw_all
from preprocess.synthetic.puppet_model import (
    LANDMARKS,
    Camera,
    Identity,
    Pose,
    framing,
    random_identity,
    random_motion,
)
from preprocess.synthetic.puppet_painter import Drawing, draw

# ---------------------------------------------------------------------------------------------------------------------
# Data sets

FPS = Fraction(25)


@dataclass(frozen=True)
class _Job:
    """One clip to draw; small enough to be sent to another process."""

    clip_id: str
    person: int  # its number in the data set
    split: str
    identity: int
    motion: int
    frames: int
    fps: int
    size: int
    scale: float
    offset: tuple[float, float]
    still: bool = False  # only the first frame
    calm: bool = False  # the head hardly moves

    @property
    def row(self) -> Clip:
        return Clip(
            clip_id=self.clip_id, path=f"clips/{self.clip_id}", identity=f"puppet{self.person:04d}", split=self.split,
            frames=1 if self.still else self.frames, fps=Fraction(self.fps), width=self.size, height=self.size,
            source_video="puppets",
            crop_rule=f"fixed square of {self.scale:.3f} x the longer side of the union of face boxes",
        )  # fmt: skip


def puppet_splits(identities: int, *, val: float = 0.1, test: float = 0.1) -> list[str]:
    """Split of each identity of a data set: "train", "val" or "test"; at least one identity each.

    Raises:
        InputError: fewer than three identities.
    """
    if identities < 3:
        raise InputError(f"--identities {identities}: must be at least 3, one each to train, validate and test")
    val_count, test_count = max(1, round(identities * val)), max(1, round(identities * test))
    train_count = identities - val_count - test_count
    if train_count < 1:
        raise InputError(f"--identities {identities}: val {val} and test {test} leave none to train; lower them")
    return ["train"] * train_count + ["val"] * val_count + ["test"] * test_count


def require_range(scale_range: tuple[float, float]) -> None:
    """Raise `InputError` unless squares can have sides of this range, in longer sides of a face's box."""
    low, high = scale_range
    require(
        0 < low <= high < math.inf, f"--scale_range {low:g} {high:g}: must be two numbers above 0, the smaller first"
    )


def write_puppets(
    output: str | Path,
    *,
    identities: int,
    clips: int,
    frames: int = 64,
    size: int = 256,
    fps: int = 25,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    scale_range: tuple[float, float] = (1.25, 1.6),
    calm: float = 0.0,
    workers: int = 1,
) -> Path:
    """Draw a data set: clips as folders of PNG frames, their exact truth and a manifest.

    Each clip has its own motion and its own fixed square: `scale_range` x the longer side of the union of its face
    boxes, a little off the middle. Beside the frames folder `clips/NAME` lies `clips/NAME.npz`, see
    `load_puppet_truth`. Identities belong to one split each. Equal arguments give equal files, whatever the number of
    workers.

    Args:
        output: folder to make; must not exist yet or be empty.
        identities, clips: how many puppets, and clips of each.
        frames, size: of each clip; frames per clip, pixels of the square.
        fps: frames per second; fewer show more of the motion in as many frames.
        val, test: parts of the identities.
        scale_range: of each clip's square, in longer sides of the union of its face boxes.
        calm: part of the clips in which the head hardly moves: what changes there are eyes, brows and mouth, which
            whole-head motion otherwise drowns in a loss over pixels.
        workers: processes that draw.

    Returns:
        the manifest, `output/manifest.csv`.

    Raises:
        InputError: a count below its minimum, a part or a range that cannot be, a folder in use, a disk that is full.
    """
    splits = puppet_splits(identities, val=val, test=test)
    require_at_least(
        clips=(clips, 1), frames=(frames, 2), fps=(fps, 1), size=(size, 16), seed=(seed, 0), workers=(workers, 1)
    )
    require_range(scale_range)
    require(0 <= calm <= 1, f"--calm {calm}: must be from 0 to 1")
    jobs = []
    for person in range(identities):
        for take in range(clips):
            rng = np.random.default_rng([seed, person, take])
            jobs.append(_Job(
                clip_id=f"puppet{person:04d}_{take:02d}", person=person, split=splits[person],
                identity=_person(seed, person), motion=int(rng.integers(1 << 31)), frames=frames, fps=fps, size=size,
                scale=float(rng.uniform(*scale_range)), offset=_offset(rng), calm=bool(rng.random() < calm),
            ))  # fmt: skip
    return _write(Path(output), jobs, workers)


def write_puppet_pairs(
    output: str | Path,
    *,
    identities: int,
    pairs: int,
    frames: int,
    size: int,
    fps: int = 25,
    seed: int = 0,
    val: float = 0.1,
    test: float = 0.1,
    scale_range: tuple[float, float] = (1.25, 1.6),
    workers: int = 1,
) -> Path:
    """Draw cross-identity animation with its exact answer, for the test identities of `write_puppets`'s data set.

    For each pair of two test identities A and B: the driving clip is B with B's motion, the truth clip is A with B's
    motion, and the source clip (one frame) is A in B's first pose, as relative motion transfer assumes. Source and
    truth share one square, found from A's face boxes by the same rule (scale and offset) as the driving clip's from
    B's. `pairs.csv` has the columns source, driving, truth: clip ids of `manifest.csv`, all of split "test".

    Args and errors as `write_puppets` (give the same `identities`, `seed`, `val`, `test`); needs two test identities.

    Returns:
        `output/pairs.csv`.
    """
    splits = puppet_splits(identities, val=val, test=test)
    held_out = [person for person, split in enumerate(splits) if split == "test"]
    if len(held_out) < 2:
        raise InputError(
            f"--identities {identities}: leaves {len(held_out)} test identity, pairs need 2; give more identities"
        )
    require_at_least(
        pairs=(pairs, 1), frames=(frames, 2), fps=(fps, 1), size=(size, 16), seed=(seed, 0), workers=(workers, 1)
    )
    require_range(scale_range)
    jobs = []
    for k in range(pairs):
        rng = np.random.default_rng([seed, 0xAB, k])
        a, b = (held_out[int(j)] for j in rng.choice(len(held_out), 2, replace=False))
        motion, scale, offset = int(rng.integers(1 << 31)), float(rng.uniform(*scale_range)), _offset(rng)
        for role, person in (("source", a), ("driving", b), ("truth", a)):
            who = f"pair{k:04d}_{role}", person, "test", _person(seed, person)
            jobs.append(_Job(*who, motion, frames, fps, size, scale, offset, still=role == "source"))
    names = [job.clip_id for job in jobs]
    paired = [Pair(*names[first : first + 3]) for first in range(0, len(names), 3)]
    return _write(Path(output), jobs, workers, paired).with_name("pairs.csv")


def load_puppet_truth(clip_folder: str | Path) -> dict[str, np.ndarray]:
    """What is exactly known of a drawn clip, from the .npz beside its frames folder.

    landmarks_px (T, 73, 2), face_box_xyxy_px (T, 4), poses (T, 12), camera (3,) x, y, view, identity () (its seed),
    landmark_names (73,), pose_names (12,).
    """
    clip_folder = Path(clip_folder)
    path = clip_folder.with_name(clip_folder.name + ".npz")
    if not path.is_file():
        raise InputError(f"{path}: no ground truth beside this clip; only drawn clips have it")
    with np.load(path) as arrays:
        return dict(arrays)


def _person(seed: int, person: int) -> int:
    """Seed of an identity: data sets of different seeds share no one."""
    return seed * 100_003 + person


def _offset(rng: np.random.Generator) -> tuple[float, float]:
    x, y = np.clip(rng.normal([0.0, 0.02], 0.02), -0.06, 0.06)
    return float(x), float(y)


def draw_clip(
    identity: Identity, poses: Sequence[Pose], size: int | tuple[int, int], camera: Camera
) -> Iterator[Drawing]:
    """The drawings of a motion, one after another."""
    return (draw(identity, pose, size, camera) for pose in poses)


def _calmed(poses: Sequence[Pose]) -> list[Pose]:
    """The same expressions on a head that keeps a tenth of its motion about the first pose."""
    head = ("yaw", "pitch", "roll", "shift_x", "shift_y", "scale")
    rest = poses[0]
    return [replace(p, **{name: 0.9 * getattr(rest, name) + 0.1 * getattr(p, name) for name in head}) for p in poses]


def _draw_job(job: _Job, root: Path) -> None:
    cv2.setNumThreads(1)  # processes share the cores already
    identity, poses = random_identity(job.identity), random_motion(job.motion, job.frames, job.fps)
    if job.calm:
        poses = _calmed(poses)
    camera = framing(identity, poses, scale=job.scale, offset=job.offset)
    folder = root / job.row.path
    folder.mkdir(parents=True)
    shown = poses[:1] if job.still else poses
    drawings = []
    for index, drawing in enumerate(draw_clip(identity, shown, job.size, camera)):
        ok, png = cv2.imencode(".png", drawing.image[..., ::-1], (cv2.IMWRITE_PNG_COMPRESSION, 3))
        assert ok
        (folder / f"{index:06d}.png").write_bytes(png.tobytes())
        drawings.append(drawing)
    names = [f.name for f in fields(Pose)]
    np.savez(
        folder.with_name(folder.name + ".npz"),
        landmarks_px=np.stack([d.landmarks_px for d in drawings]),
        face_box_xyxy_px=np.array([d.face_box_xyxy_px for d in drawings], np.float32),
        poses=np.array([[getattr(p, name) for name in names] for p in shown]),
        camera=np.array([camera.x, camera.y, camera.view]),
        identity=np.array(job.identity),
        landmark_names=np.array(LANDMARKS),
        pose_names=np.array(names),
    )


def _write(output: Path, jobs: list[_Job], workers: int, pairs: Sequence[Pair] = ()) -> Path:
    require_new(output)
    with atomic_output(output) as part:
        part.mkdir()
        draw_all(partial(_draw_job, root=part), jobs, workers=workers, unit="clip")
        if pairs:
            write_pairs(part / "pairs.csv", pairs)
        rows = [replace(job.row, sha256=hash_clip(part / job.row.path)) for job in jobs]
        write_manifest(part / "manifest.csv", rows)
    return output / "manifest.csv"


# ---------------------------------------------------------------------------------------------------------------------
# The demonstration: nobody of any data set of `write_puppets` with a seed below 9

_PORTRAIT, _SPEAKER, _SPEECH = 900_001, 900_010, 115
_SAMPLE_RATE = 48_000


def write_demo(folder: str | Path) -> tuple[Path, Path]:
    """Draw what the demonstration animates: a portrait and a driving clip with sound, always the same.

    Returns:
        `portrait.png`, 960 x 720: a puppet in a landscape, its head tilted by 20 degrees clockwise;
        `speaker.mp4`, 384 x 384, 4 s at 25 frames per second, H.264 and AAC: another puppet that looks straight ahead
        at first and then talks; its voice is as loud as its mouth is open.
    """
    folder = Path(folder)
    portrait, clip = folder / "portrait.png", folder / "speaker.mp4"
    pose = Pose(roll=float(np.deg2rad(20)), smile=0.3)
    write_image(portrait, draw(random_identity(_PORTRAIT), pose, (960, 720), Camera(-0.5, 0.55, 6.6)).image)

    speaker, motion = random_identity(_SPEAKER), random_motion(_SPEECH, 100, float(FPS), neutral_start=True)
    camera = framing(speaker, motion, scale=1.9)  # room for the crop around the head
    voice = babble(np.array([pose.mouth for pose in motion]), float(FPS), seed=_SPEECH)
    with atomic_output(clip) as part:
        _write_clip(part, draw_clip(speaker, motion, 384, camera), 384, voice)
    return portrait, clip


def babble(mouth: np.ndarray, fps: float, *, seed: int = 0) -> np.ndarray:
    """A voice without words, mono float32 in -1..1 at 48 kHz, as loud as the mouth (T,) of 0..1 is open.

    A pulse train of wandering pitch, as the sum of its harmonics, each as strong as two resonances (the opening mouth
    raises the first, as it does in people) let it be, and a hiss where the mouth closes.
    """
    rng = np.random.default_rng([seed, 0xAA])
    samples = round(len(mouth) / fps * _SAMPLE_RATE)
    time = np.arange(samples) / _SAMPLE_RATE

    def curve(values: np.ndarray) -> np.ndarray:
        return np.interp(time, (np.arange(len(values)) + 0.5) / len(values) * len(mouth) / fps, values)

    opening = curve(np.asarray(mouth, float))
    knots = max(int(len(mouth) / fps * 4), 2)
    pitch = 118 * 2 ** (curve(rng.uniform(-0.2, 0.2, knots)) + 0.08 * opening)
    phase = 2 * np.pi * np.cumsum(pitch) / _SAMPLE_RATE
    first, second = 280 + 480 * opening, curve(rng.uniform(900, 2100, knots))
    sound = np.zeros(samples)
    for harmonic in range(1, 30):
        frequency = harmonic * pitch
        gain = sum(weight / (1 + ((frequency - centre) / width) ** 2) for centre, width, weight in
                   ((first, 90, 1.0), (second, 140, 0.5), (2700, 250, 0.15)))  # fmt: skip
        sound += gain / harmonic**0.4 * np.sin(harmonic * phase)
    hiss = np.diff(rng.standard_normal(samples + 1)) * np.clip(-np.gradient(opening, time) / 12, 0, 1)
    loud = opening**1.3
    sound = sound / (np.abs(sound).max() + 1e-9) * loud + 0.03 * hiss * (opening > 0.03)
    fade = np.minimum(np.minimum(time, time[-1] - time) / 0.02, 1)
    return (0.7 * sound * fade).astype(np.float32)


def _write_clip(path: Path, drawings: Iterable[Drawing], size: int, sound: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        voice = container.add_stream("aac", rate=_SAMPLE_RATE, layout="mono", bit_rate=96_000)
        picture = container.add_stream("libx264", rate=FPS, pix_fmt="yuv420p", options={"crf": "16", "threads": "1"})
        picture.width = picture.height = size
        for drawing in drawings:
            frame = av.VideoFrame.from_ndarray(drawing.image, format="rgb24")
            container.mux(picture.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(picture.encode(None))
        for start in range(0, len(sound), 1024):
            heard = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
            heard.sample_rate, heard.pts = _SAMPLE_RATE, start
            container.mux(voice.encode(heard))
        container.mux(voice.encode(None))
