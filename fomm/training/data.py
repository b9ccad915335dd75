"""From a manifest to batches of frame pairs; a sample decodes only the frames that it uses.

Every random choice is a function of (seed, epoch, position), never of a global generator: a resumed run, any number
of workers and any number of processes see the same pairs.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytorch_lightning as L
import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fomm.errors import InputError, require
from fomm.files import hash_file
from fomm.manifest import Clip, read_manifest, select
from fomm.pixels import to_tensor
from fomm.video import read_frames
from fomm.video.pictures import fit_square
from fomm.video_folder import HELD_OUT_EVERY, manifest_of_folder

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Augmentation:
    """Random changes, the same for both frames of a pair.

    Attributes:
        horizontal_flip: mirror half of the pairs.
        time_flip: half of the pairs use the later frame as the source.
        brightness: largest relative change; likewise `contrast` and `saturation`.
        contrast: see `brightness`.
        saturation: see `brightness`.
        hue: largest change in turns of the colour circle, at most 0.5.
        resize_ratio: range of a random enlargement that is cropped (or padded by its edge) back; none by default.
    """

    horizontal_flip: bool = False
    time_flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    resize_ratio: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            amount = getattr(self, name)
            require(0 <= amount < math.inf, f"data.augmentation.{name} {amount}: must be at least 0, and finite")
        require(0 <= self.hue <= 0.5, f"data.augmentation.hue {self.hue}: must be between 0 and 0.5")
        low, high = self.resize_ratio or (1, 1)
        require(
            0 < low <= high, f"data.augmentation.resize_ratio [{low}, {high}]: must be two increasing positive numbers"
        )

    def apply(self, frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change uint8 frames (T, H, W, 3) -> float32 in [0, 1], same shape."""
        if self.resize_ratio:
            frames = _resize_and_crop(frames, rng.uniform(*self.resize_ratio), rng)
        if self.time_flip and rng.random() < 0.5:
            frames = frames[::-1]
        if self.horizontal_flip and rng.random() < 0.5:
            frames = frames[:, :, ::-1]
        frames = frames.astype(np.float32) / 255
        strengths = (
            (_change_brightness, self.brightness),
            (_change_contrast, self.contrast),
            (_change_saturation, self.saturation),
        )
        changes: list[tuple[Callable[[np.ndarray, float], np.ndarray], float]] = [
            (change, rng.uniform(max(0.0, 1 - s), 1 + s)) for change, s in strengths if s
        ]
        if self.hue:
            changes.append((_change_hue, rng.uniform(-self.hue, self.hue)))
        for index in rng.permutation(len(changes)):
            change, amount = changes[index]
            frames = change(frames, amount).clip(0, 1)
        return frames


def _change_brightness(frames: np.ndarray, factor: float) -> np.ndarray:
    return frames * np.float32(factor)


def _change_contrast(frames: np.ndarray, factor: float) -> np.ndarray:
    grey = (frames @ LUMA).mean((1, 2))[:, None, None, None]
    return grey + np.float32(factor) * (frames - grey)


def _change_saturation(frames: np.ndarray, factor: float) -> np.ndarray:
    grey = (frames @ LUMA)[..., None]
    return grey + np.float32(factor) * (frames - grey)


def _change_hue(frames: np.ndarray, turns: float) -> np.ndarray:
    turned = []
    for frame in frames:
        hsv = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2HSV)  # hue in degrees for float pictures
        hsv[..., 0] = (hsv[..., 0] + 360 * turns) % 360
        turned.append(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
    return np.stack(turned)


def _resize_and_crop(frames: np.ndarray, ratio: float, rng: np.random.Generator) -> np.ndarray:
    height, width = frames.shape[1:3]
    wh = max(1, round(width * ratio)), max(1, round(height * ratio))
    frames = np.stack([cv2.resize(frame, wh) for frame in frames])
    pad_y, pad_x = max(0, height - frames.shape[1]), max(0, width - frames.shape[2])
    pads = ((0, 0), (pad_y // 2, pad_y - pad_y // 2), (pad_x // 2, pad_x - pad_x // 2), (0, 0))
    frames = np.pad(frames, pads, mode="edge")
    top, left = rng.integers(frames.shape[1] - height + 1), rng.integers(frames.shape[2] - width + 1)
    return frames[:, top : top + height, left : left + width]


class FrameStore:
    """Frames of a clip, by number: a folder of pictures, or a video that is entered at the nearest keyframe."""

    def __init__(self, root: str | Path, *, size: int, cache: bool):
        """`size`: frames are handed out as size x size. `cache`: keep every frame once read, in memory."""
        self.root = Path(root)
        self.size = size
        self._cache: dict[str, np.ndarray] | None = {} if cache else None

    def read(self, clip: Clip, indices: Sequence[int]) -> np.ndarray:
        """Frames (T, size, size, 3) uint8 RGB; raises InputError where the clip is missing, damaged, or shorter than
        the manifest says."""
        if self._cache is None:
            return self._decode(clip, indices)
        if clip.path not in self._cache:
            self._cache[clip.path] = self._decode(clip, range(clip.frames))
        return self._cache[clip.path][list(indices)]

    def _decode(self, clip: Clip, indices: Sequence[int]) -> np.ndarray:
        path = self.root / clip.path
        if not path.exists():
            raise InputError(f"{path}: no such clip; correct or remove its row in the manifest")
        frames = read_frames(path, indices)
        return np.stack([fit_square(frame, self.size) for frame in frames])


class PairSet(Dataset[dict[str, Tensor]]):
    """A data set of pairs that knows its length."""

    @abstractmethod
    def __len__(self) -> int: ...


class TrainPairs(PairSet):
    """(source, driving) pairs: two random frames of a clip, augmented alike.

    Without identity sampling an item is a clip; with it an item is an identity, of which a random clip is taken.
    Items are asked for as (epoch, position).
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        store: FrameStore,
        *,
        augmentation: Augmentation,
        identity_sampling: bool,
        seed: int,
    ):
        groups: dict[str, list[Clip]] = {}
        for clip in clips:
            groups.setdefault(clip.identity if identity_sampling else clip.clip_id, []).append(clip)
        self.groups = list(groups.values())
        self.store = store
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Tensor]:
        epoch, position = item
        rng = np.random.default_rng((self.seed, epoch, position))
        group = self.groups[position % len(self.groups)]
        clip = group[rng.integers(len(group))]
        indices = np.sort(rng.integers(clip.frames, size=2))  # with replacement, as in the original
        frames = self.augmentation.apply(self.store.read(clip, indices.tolist()), rng)
        source, driving = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        return {"source": source, "driving": driving}


class HeldOutPairs(PairSet):
    """(first frame, later frame) pairs of held-out clips, evenly spaced, always the same."""

    def __init__(self, clips: Sequence[Clip], store: FrameStore, *, frames_per_clip: int):
        self.items = [
            (clip, int(index))
            for clip in clips
            for index in sorted(set(np.linspace(0, clip.frames - 1, frames_per_clip + 1).round().astype(int)[1:]))
        ]
        self.store = store

    def __len__(self) -> int:
        return len(self.items)

    def clip(self, index: int, frames: int) -> Tensor:
        """The beginning of a pair's clip: (T, 3, size, size) in [0, 1]."""
        clip = self.items[index][0]
        return to_tensor(self.store.read(clip, range(min(frames, clip.frames)))).contiguous()

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        clip, frame = self.items[index]
        source, driving = to_tensor(self.store.read(clip, [0, frame])).contiguous()
        return {"source": source, "driving": driving}


class EpochOrder(Sampler):
    """A fresh order of (epoch, position) for each epoch, dealt out to `world` processes.

    The processes share one global order: process r takes the r-th piece of each global batch, so `world` processes of
    batch n see together what one process of batch `world * n` sees. The last incomplete batch is dropped.
    """

    def __init__(self, positions: int, batch_size: int, *, seed: int, rank: int = 0, world: int = 1):
        self.positions, self.batch_size, self.seed = positions, batch_size, seed
        self.rank, self.world, self.epoch = rank, world, 0
        self.resumed = (-1, 0)  # an epoch, and how many of its batches are done

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; Lightning calls it before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.positions // (self.batch_size * self.world) * self.batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.positions)
        done = self.resumed[1] if self.epoch == self.resumed[0] else 0
        for batch in range(done, len(self) // self.batch_size):
            first = (batch * self.world + self.rank) * self.batch_size
            for position in order[first : first + self.batch_size]:
                yield self.epoch, int(position)


class PairData(L.LightningDataModule):
    """Batches of training and held-out pairs, the same for any number of workers and processes, also when resumed.

    `setup` of a subclass sets the pairs; an item of the training pairs is asked for as (epoch, position).

    Args:
        batch_size: pairs per step and process.
        workers: processes that prepare batches; 0 prepares them in the training process.
        seed: of the order.

    Raises:
        InputError: a number below its least.
    """

    train_pairs: PairSet
    held_out_pairs: PairSet
    size: int  # side of the square frames in pixels
    repeats = 1  # how often an epoch goes through the training pairs

    def __init__(self, *, batch_size: int, workers: int, seed: int) -> None:
        super().__init__()
        require(batch_size >= 1, f"data.batch_size {batch_size}: must be at least 1")
        require(workers >= 0, f"data.workers {workers}: must be at least 0")
        require(seed >= 0, f"data.seed {seed}: must be at least 0")
        self.batch_size, self.workers, self.seed = batch_size, workers, seed
        self._batches_done = 0

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """Hashes that tell on which data was trained, for the weights file and the loggers."""

    def train_dataloader(self) -> DataLoader:
        order = EpochOrder(
            len(self.train_pairs) * self.repeats, self.batch_size, seed=self.seed, rank=self._rank, world=self._world
        )
        # Workers start before Lightning tells the epoch.
        order.set_epoch(self.trainer.current_epoch if self.trainer else 0)
        order.resumed = (order.epoch, self._batches_done)
        self._batches_done = 0
        return DataLoader(
            self.train_pairs, batch_size=self.batch_size, sampler=order, drop_last=True, **self._loader_options
        )

    def val_dataloader(self) -> DataLoader:
        mine = range(self._rank, len(self.held_out_pairs), self._world)
        return DataLoader(self.held_out_pairs, batch_size=self.batch_size, sampler=mine, **self._loader_options)

    def state_dict(self) -> dict[str, int]:
        """How far the epoch has come, so that a resumed run goes on with the next batch."""
        assert self.trainer is not None, "only a running training is asked"
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        return {"batches_done": 0 if progress.is_last_batch else progress.current.ready}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._batches_done = state["batches_done"]

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _world(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    @property
    def _loader_options(self) -> dict:
        # Forked workers share the cached frames; nothing here uses threads or a GPU before the fork.
        return {
            "num_workers": self.workers,
            "persistent_workers": self.workers > 0,
            "multiprocessing_context": "fork" if self.workers else None,
            "pin_memory": torch.cuda.is_available(),
        }


def data_of(trainer: L.Trainer) -> PairData:
    """The data of a run."""
    return trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it and does not declare it


class ClipData(PairData):
    """Training and held-out pairs of a manifest."""

    def __init__(
        self,
        *,
        manifest: str,
        size: int = 256,
        batch_size: int = 16,
        repeats: int = 1,
        identity_sampling: bool = False,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        frames_per_held_out_clip: int = 8,
        workers: int = 2,
        cache: bool = False,
        seed: int = 0,
    ):
        """
        Args:
            manifest: CSV file that lists the clips, or a folder of videos (a manifest is then made and kept in it).
            size: side of the square frames in pixels; other frames are cut to their central square and resized.
            batch_size: pairs per step and process.
            repeats: how often an epoch goes through all clips (or identities).
            identity_sampling: an epoch goes through identities, taking a random clip of each.
            augmentation: random changes of training pairs.
            frames_per_held_out_clip: validation pairs per clip, each with the clip's first frame as its source.
            workers: processes that prepare batches; 0 prepares them in the training process.
            cache: keep all decoded frames in memory (size * size * 3 bytes each).
            seed: of the order, the pairs and the augmentation.
        """
        super().__init__(batch_size=batch_size, workers=workers, seed=seed)
        counts = {"size": size, "repeats": repeats, "frames_per_held_out_clip": frames_per_held_out_clip}
        for name, count in counts.items():
            require(count >= 1, f"data.{name} {count}: must be at least 1")
        self.manifest = Path(manifest)
        self.size, self.repeats, self.cache = size, repeats, cache
        self.identity_sampling, self.augmentation = identity_sampling, augmentation
        self.frames_per_held_out_clip = frames_per_held_out_clip

    def facts(self) -> dict[str, str]:
        return {"manifest_sha256": hash_file(self.manifest)}

    def prepare_data(self) -> None:
        """Make the manifest of a folder of videos (one process does it, before the others look)."""
        if self.manifest.is_dir():
            manifest_of_folder(self.manifest)

    def setup(self, stage: str | None = None) -> None:
        """Read the manifest; raises InputError for an empty split, clips of one frame, or fewer pairs than a batch."""
        self._from_folder = self.manifest.is_dir()
        if self._from_folder:
            self.manifest = manifest_of_folder(self.manifest)
        clips = read_manifest(self.manifest)
        parts = {split: select(clips, split) for split in ("train", "val")}
        whole = sum(map(len, parts.values())) or 1
        shares = [
            f"{split} {len(part)} clips ({100 * len(part) / whole:.0f} %) of {len({clip.identity for clip in part})} "
            "identities"
            for split, part in parts.items()
        ]
        asked = f"; asked for were every {HELD_OUT_EVERY}th identity, and at least one" if self._from_folder else ""
        rank_zero_info(f"{self.manifest}: {', '.join(shares)}{asked}")
        for split, part in parts.items():
            if not part:
                raise InputError(f"{self.manifest}: no clip has split {split!r}; give some rows that split")
        short = [clip.clip_id for part in parts.values() for clip in part if clip.frames < 2]
        if short:
            named = ", ".join(short[:5]) + (" ..." if len(short) > 5 else "")
            raise InputError(
                f"{self.manifest}: {len(short)} clip(s) of one frame ({named}), need at least 2; remove their rows"
            )
        store = FrameStore(self.manifest.parent, size=self.size, cache=self.cache)
        self.train_pairs = TrainPairs(
            parts["train"],
            store,
            augmentation=self.augmentation,
            identity_sampling=self.identity_sampling,
            seed=self.seed,
        )
        self.held_out_pairs = HeldOutPairs(parts["val"], store, frames_per_clip=self.frames_per_held_out_clip)
        needed = self.batch_size * self._world
        if len(self.train_pairs) * self.repeats < needed:
            raise InputError(
                f"{self.manifest}: {len(self.train_pairs)} item(s) x {self.repeats} repeat(s) do not fill one batch "
                f"of {needed}; raise --data.repeats or lower --data.batch_size"
            )
        if self.cache:
            for part in parts.values():
                for clip in part:
                    store.read(clip, [0])
