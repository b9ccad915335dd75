"""Is a data set what its manifest says? Every file is read; faults are gathered; pictures show what is in it."""

from __future__ import annotations

import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from fomm.errors import InputError
from fomm.files import atomic_output
from fomm.manifest import SPLITS, Clip, hash_clip, read_manifest
from fomm.video import VideoReader, read_frames, write_image
from preprocess.crop import fitted
from preprocess.faces import FaceFinder

SUMMARY, SHEET, HISTOGRAMS = "summary.md", "contact_sheet.jpg", "histograms.png"
FOLDER = "check"  # beside the manifest

_SHEET_CLIPS, _SHEET_COLUMNS, _TILE = 60, 10, 128
_POSE_CLIPS = 200  # clips of which one frame's pose is estimated
_IDENTITIES_SHOWN = 10


@dataclass
class Check:
    """What was found."""

    clips: list[Clip]  # rows of the manifest that can be read
    faults: list[str] = field(default_factory=list)  # one sentence each, with the file's or the row's name
    unhashed: int = 0  # clips whose manifest has no hash to compare with
    # (N, 2) yaw and pitch of the sampled frames in which there is a face
    poses_deg: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))
    looked: int = 0  # how many frames were sampled for that


def check(manifest: str, *, output: str | None = None) -> Path:
    """Check a data set, and show what is in it.

    Every clip is decoded from its first frame to its last (so a frame count is that of frames that can be decoded,
    not one from a header), and compared with its row: size, number of frames, hash. No identity and no file may be in
    two splits. Faults are told after the summary, one line each; then the exit code is 2.

    Args:
        manifest: a manifest.csv.
        output: folder for summary.md, contact_sheet.jpg and histograms.png. Default: `check` beside the manifest.

    Returns:
        the summary, `output/summary.md`.

    Raises:
        InputError: no manifest, or faults.
    """
    path = Path(manifest)
    folder = Path(output) if output else path.parent / FOLDER
    found = inspect(path)
    sheet = _sample(found, path.parent)
    lines = summary(found, path)
    if sheet is not None:
        write_image(folder / SHEET, sheet)
        _draw_histograms(folder / HISTOGRAMS, found)
        lines += ["", f"![Every clip's middle frame, or of {_SHEET_CLIPS}]({SHEET})", "", f"![]({HISTOGRAMS})"]
    with atomic_output(folder / SUMMARY) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(line for line in lines if not line.startswith("![")).rstrip())
    print(f"wrote {folder / SUMMARY}")
    if found.faults:
        print("\n".join(f"fault: {_plain(fault)}" for fault in found.faults), file=sys.stderr)
        raise InputError(f"{path}: {len(found.faults)} fault(s), listed above; make them again or drop their rows")
    return folder / SUMMARY


def inspect(manifest: Path) -> Check:
    """Compare a manifest with its files; each file is read once, in threads, one frame of each in memory.

    Raises:
        InputError: no manifest, or not one row of it can be read.
    """
    faults: list[str] = []
    found = Check(read_manifest(manifest, on_fault=faults.append), faults)
    if not found.clips:
        raise InputError(f"{manifest}: {faults[0] if faults else 'lists no clip'}; make it again")
    found.faults += _faults_between(found.clips)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(found.clips), desc="checking", unit="clip", disable=not sys.stderr.isatty()) as bar,
    ):
        for faults_of_clip in pool.map(partial(_faults_of, root=manifest.parent.resolve()), found.clips):
            found.faults += faults_of_clip
            bar.update()
    found.unhashed = sum(not clip.sha256 for clip in found.clips)
    return found


def _faults_between(clips: Iterable[Clip]) -> list[str]:
    """What is wrong with rows together: an identity or a file in two splits, a file in two rows."""
    splits: dict[str, dict[str, str]] = defaultdict(dict)  # identity -> split -> clip
    paths: dict[str, Clip] = {}
    hashes: dict[str, Clip] = {}
    faults = []
    for clip in clips:
        splits[clip.identity].setdefault(clip.split, clip.clip_id)
        if clip.path in paths:
            faults.append(f"{clip.clip_id}: has the file of {paths[clip.path].clip_id}, {clip.path}")
        other = hashes.get(clip.sha256) if clip.sha256 else None
        if other is not None and other.split != clip.split:
            faults.append(f"{clip.clip_id} ({clip.split}): is the same file as {other.clip_id} ({other.split})")
        paths.setdefault(clip.path, clip)
        hashes.setdefault(clip.sha256, clip)
    for identity, where in splits.items():
        if len(where) > 1:
            places = ", ".join(f"{split} ({clip_id})" for split, clip_id in where.items())
            faults.append(f"identity {identity}: is in {len(where)} splits: {places}")
    return faults


def _faults_of(clip: Clip, root: Path) -> list[str]:
    """What is wrong with one clip's file."""
    path = root / clip.path
    if not path.exists():
        return [f"{clip.clip_id}: {clip.path} is not there"]
    if not path.resolve().is_relative_to(root):
        return [f"{clip.clip_id}: {clip.path} is a link out of the manifest's folder"]
    try:
        reader = VideoReader(path, threads=1)
        count = sum(1 for _ in reader.lazy_frames())
    except InputError as error:
        return [f"{clip.clip_id}: {error}"]
    faults = [f"{clip.clip_id}: {warning}" for warning in reader.warnings]
    if (reader.width, reader.height) != (clip.width, clip.height):
        size = f"{reader.width}x{reader.height}"
        faults.append(f"{clip.clip_id}: {clip.path} is {size}, its row says {clip.width}x{clip.height}")
    if count != clip.frames:
        faults.append(f"{clip.clip_id}: {clip.path} has {count} frames, its row says {clip.frames}")
    if clip.sha256 and hash_clip(path) != clip.sha256:
        faults.append(f"{clip.clip_id}: {clip.path} is not the file that was listed (sha256 differs)")
    return faults


# ------------------------------------------------------------------------------------------------------- what is in it


def spread(clips: Sequence[Clip], count: int) -> list[Clip]:
    """At most `count` clips, evenly spread over the list by split and identity."""
    ordered = sorted(clips, key=lambda clip: (SPLITS.index(clip.split), clip.identity, clip.clip_id))
    return [ordered[int(at)] for at in np.linspace(0, len(ordered) - 1, min(count, len(ordered)))]


def _sample(found: Check, root: Path) -> np.ndarray | None:
    """Look at the middle frames of some clips: their poses go into `found`; the contact sheet, None without a clip."""
    shown = {clip.clip_id for clip in spread(found.clips, _SHEET_CLIPS)}
    looked_at = {clip.clip_id for clip in spread(found.clips, _POSE_CLIPS)}
    tiles, poses = [], []
    chosen = [clip for clip in spread(found.clips, len(found.clips)) if clip.clip_id in shown | looked_at]
    with FaceFinder() as finder:
        for clip in tqdm(chosen, desc="looking", unit="clip", disable=not sys.stderr.isatty()):
            try:
                (image,) = read_frames(root / clip.path, [clip.frames // 2])
            except InputError:  # it is among the faults
                continue
            if clip.clip_id in shown:
                tiles.append(_tile(image, clip))
            if clip.clip_id in looked_at:
                found.looked += 1
                poses += [(face.yaw_deg, face.pitch_deg) for face in finder.find(image, thorough=False)[:1]]
    found.poses_deg = np.array(poses).reshape(-1, 2)
    if not tiles:
        return None
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % min(_SHEET_COLUMNS, len(tiles)))
    columns = min(_SHEET_COLUMNS, len(tiles))
    return np.vstack([np.hstack(tiles[row : row + columns]) for row in range(0, len(tiles), columns)])


def _tile(image: np.ndarray, clip: Clip) -> np.ndarray:
    """(160, 128, 3): the frame, with identity and split under it."""
    tile, picture = np.full((_TILE + 32, _TILE, 3), 255, np.uint8), fitted(image, _TILE)
    tile[: picture.shape[0], : picture.shape[1]] = picture
    colour = {"train": (40, 40, 48), "val": (0, 100, 200), "test": (200, 60, 0)}[clip.split]
    name = clip.identity.encode("ascii", "replace").decode()
    for line, text in enumerate((name if len(name) <= 18 else f"{name[:8]}..{name[-8:]}", clip.split)):
        cv2.putText(tile, text, (2, _TILE + 12 + 14 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)
    return tile


def summary(found: Check, manifest: Path) -> list[str]:
    """The data set in words and numbers, lines of Markdown."""
    clips = found.clips
    lines = [f"# {manifest.parent.resolve().name}/{manifest.name}", ""]
    lines += ["| split | clips | identities | frames | hours |", "|---|---|---|---|---|"]
    for split in (*SPLITS, "all"):
        some = [clip for clip in clips if split in (clip.split, "all")]
        hours = float(sum(clip.frames / clip.fps for clip in some)) / 3600
        counts = f"{len(some)} | {len({clip.identity for clip in some})} | {sum(clip.frames for clip in some)}"
        lines.append(f"| {split} | {counts} | {hours:.2f} |")
    lengths = [clip.frames for clip in clips]
    sizes = Counter(f"{clip.width}x{clip.height}" for clip in clips)
    lines += ["", f"- length: {_range(lengths)} frames; size: {_counted(sizes, 3)}"]
    sides = crop_sides(clips)
    if sides:
        lines.append(f"- side of the crop in its video: {_range(sides)} px")
    lines.append(f"- confidence: {_range([clip.confidence for clip in clips], '.2f')}")
    if len(found.poses_deg):
        yaw, pitch = found.poses_deg.T
        lines.append(
            f"- face in {len(yaw)} of {found.looked} sampled frames: yaw {_range(yaw, '+.0f')} (+: to the right), "
            f"pitch {_range(pitch, '+.0f')} (+: up) degrees, roughly"
        )
    elif found.looked:
        lines.append(f"- no face in any of {found.looked} sampled frames")
    people = Counter(clip.identity for clip in clips)
    lines.append(f"- clips per identity: {_range(list(people.values()))}; most: {_counted(people, _IDENTITIES_SHOWN)}")
    hashed = len(clips) - found.unhashed
    lines.append(f"- all frames of all clips decoded; {hashed} of {len(clips)} clips have a hash to compare with")
    lines.append(f"- faults: {len(found.faults)}")
    return lines


def crop_sides(clips: Iterable[Clip]) -> list[int]:
    """Longer sides of the crops in their videos, in pixels, of the clips that say it."""
    boxes = [[int(edge) for edge in clip.crop_box.split("-")] for clip in clips if clip.crop_box]
    return [max(right - left, bottom - top) for left, top, right, bottom in boxes]


def _range(values: Sequence[float], form: str = ".0f") -> str:
    low, middle, high = np.percentile(values, [0, 50, 100])
    return f"{low:{form}} to {high:{form}}, median {middle:{form}}"


def _counted(counts: Counter, shown: int) -> str:
    listed = ", ".join(f"{_plain(name)} ({count})" for name, count in counts.most_common(shown))
    return listed + (f" and {len(counts) - shown} more" if len(counts) > shown else "")


def _plain(text: str) -> str:
    """On one line, and without the signs by which a page would take a name for a tag."""
    return " ".join(text.split()).replace("<", "&lt;")


def _bins(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Edges of about 2 n^(1/3) bins (Rice's rule, 30 at most); of small whole numbers, one bin for each."""
    low, high = (min(values), max(values)) if len(values) else (0, 1)
    if high - low < 30 and all(float(value).is_integer() for value in values):
        return np.arange(low, high + 2) - 0.5
    return np.linspace(low, max(high, low + 1e-3), min(30, max(5, round(2 * len(values) ** (1 / 3)))) + 1)


def _draw_histograms(path: Path, found: Check) -> None:
    """Length, size, confidence, pose and clips per identity as one picture."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    clips = found.clips
    sides = crop_sides(clips)
    panels: list[tuple[Sequence[float] | np.ndarray, str]] = [
        ([float(clip.frames / clip.fps) for clip in clips], "length, s"),
        (sides or [clip.width for clip in clips], "side of the crop in its video, px" if sides else "width, px"),
        ([clip.confidence for clip in clips], "confidence"),
        (found.poses_deg[:, 0], "yaw of sampled frames, degrees (+: right)"),
        (found.poses_deg[:, 1], "pitch of sampled frames, degrees (+: up)"),
        (list(Counter(clip.identity for clip in clips).values()), "clips of an identity"),
    ]
    figure = Figure(figsize=(12, 6), layout="constrained")
    for axes, (values, label) in zip(figure.subplots(2, 3).flat, panels, strict=True):
        axes.hist(values, bins=_bins(values), color="#4472a8", edgecolor="white")
        axes.set_xlabel(label)
        axes.set_ylabel("identities" if label.endswith("identity") else "frames" if "sampled" in label else "clips")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))  # there are no half clips
        if label.endswith("identity"):
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_output(path) as part:
        figure.savefig(part, dpi=100)
