"""From sets of heads to batches of patches around the mouth.

A set is a folder with two arrays that are read by memory map:

    frames.npy   (N, K, S, S, 3) uint8 RGB: N heads, K frames of each, that its face fills well
    mesh.npy     (N, K, 478, 3) float32: landmarks of the face in each frame, see `fomm.model.face.mesh`
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fomm.errors import InputError, require
from fomm.files import hash_file
from fomm.model.face import Face
from fomm.model.face.mesh import NUM_LANDMARKS
from fomm.training.data import PairData, PairSet
from fomm.training.face.finish import finished
from fomm.training.face.patches import Pair, training_pair

SHUT, LEFT_OUT = 0.012, 0.6  # a mouth that opens onto less of the patch is shut; of these so many are left out


class HeadSet(NamedTuple):
    """A set, as memory maps."""

    frames: np.ndarray
    mesh: np.ndarray


class Head(NamedTuple):
    """Frames (K, S, S, 3) uint8 of one head and their landmarks (K, 478, 3)."""

    frames: np.ndarray
    mesh: np.ndarray

    def pair(self, source: int, driving: int) -> Pair:
        """The training pair of two of its frames."""
        faces = [Face(self.mesh[index].astype(np.float64)) for index in (source, driving)]
        return training_pair(self.frames[source], faces[0], self.frames[driving], faces[1])


def find_sets(folder: Path) -> list[Path]:
    """The folder, if it holds a set, else those folders in it that do."""
    inner = sorted(folder.iterdir()) if folder.is_dir() else []
    places = [folder, *(place for place in inner if not place.name.startswith("."))]  # those are half-written
    found = [place for place in places if all((place / f"{name}.npy").is_file() for name in HeadSet._fields)]
    return found[:1] if found[:1] == [folder] else found


def open_set(folder: Path) -> HeadSet:
    """Open a set; raises InputError for something else, or heads of a single frame."""
    try:
        opened = HeadSet(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in HeadSet._fields))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: cannot be read ({error}); make the set again") from error
    frames, mesh = opened
    fits = frames.ndim == 5 and frames.shape[2] == frames.shape[3] and frames.shape[4] == 3
    fits = fits and mesh.shape == (*frames.shape[:2], NUM_LANDMARKS, 3)
    if not fits or frames.dtype != np.uint8 or mesh.dtype.kind != "f":
        raise InputError(
            f"{folder}: frames {frames.shape} {frames.dtype} and landmarks {mesh.shape} {mesh.dtype} are not a set of "
            "heads; make it again"
        )
    if not np.isfinite(mesh).all():
        raise InputError(f"{folder}: has landmarks that are no numbers; make it again")
    if frames.shape[1] < 2:
        raise InputError(f"{folder}: has one frame of each head, need at least 2; make it again")
    return opened


class Heads:
    """The heads of several sets, by number."""

    def __init__(self, sets: Sequence[HeadSet]) -> None:
        self.sets = sets
        self.places = [(number, row) for number, one in enumerate(sets) for row in range(len(one.frames))]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Head:
        number, row = self.places[index]
        return Head(*(array[row] for array in self.sets[number]))

    def num_frames(self, index: int) -> int:
        """K of a head."""
        return self.sets[self.places[index][0]].frames.shape[1]


class TrainPatches(PairSet):
    """Each frame of each head as the driving frame, with a random one of the same head as its source.

    Items are asked for as (epoch, position). In the place of most frames with a shut mouth, from which there is little
    to learn, others are taken.
    """

    def __init__(self, heads: Heads, rows: range, *, seed: int) -> None:
        self.heads, self.seed = heads, seed
        self.items = [(row, frame) for row in rows for frame in range(heads.num_frames(row))]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, item: tuple[int, int]) -> dict[str, Tensor]:
        epoch, position = item
        rng = np.random.default_rng((self.seed, epoch, position))
        position %= len(self.items)
        while True:
            row, driving = self.items[position]
            pair = self.heads[row].pair(int(rng.integers(self.heads.num_frames(row))), driving)
            if pair.conditions[0].mean() >= SHUT or rng.random() >= LEFT_OUT:
                return to_tensors(finished(pair, rng))
            position = int(rng.integers(len(self.items)))


class HeldOutPatches(PairSet):
    """The first frame of each head as the source, each other one as the driving frame; always the same."""

    def __init__(self, heads: Heads, rows: range) -> None:
        self.heads = heads
        self.items = [(row, frame) for row in rows for frame in range(1, heads.num_frames(row))]

    def __len__(self) -> int:
        return len(self.items)

    def head(self, index: int) -> Head:
        """The head of a pair."""
        return self.heads[self.items[index][0]]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return to_tensors(self.head(index).pair(0, self.items[index][1]))


def to_tensors(pair: Pair) -> dict[str, Tensor]:
    """{"patch", "target"} (3, H, W) and "conditions" (5, H, W), float32."""
    patch, target = (np.ascontiguousarray(x.transpose(2, 0, 1), np.float32) for x in (pair.patch, pair.target))
    conditions = np.ascontiguousarray(pair.conditions, np.float32)
    return {name: torch.from_numpy(x) for name, x in zip(Pair._fields, (patch, conditions, target), strict=True)}


class FaceData(PairData):
    """Training and held-out patches of sets of heads."""

    held_out_pairs: HeldOutPatches

    def __init__(self, *, folder: str, held_out: int = 24, batch_size: int = 16, workers: int = 2, seed: int = 0):
        """
        Args:
            folder: a set of heads, such as `python -m preprocess heads` draws, or a folder of several; or a folder of
                videos (a set is then made of the faces in them and kept in it).
            held_out: heads for validation, the first ones; a quarter of all at most.
            batch_size: pairs per step and process.
            workers: processes that prepare batches; 0 prepares them in the training process.
            seed: of the order, the pairs and their finish.
        """
        super().__init__(batch_size=batch_size, workers=workers, seed=seed)
        require(held_out >= 1, f"data.held_out {held_out}: must be at least 1")
        self.folder, self.held_out = Path(folder), held_out

    def setup(self, stage: str | None = None) -> None:
        """Open the sets; raises InputError where there is none, one is damaged, or they have fewer than two heads or
        fewer pairs than a batch."""
        folders = find_sets(self.folder)
        if not folders:
            raise InputError(
                f"{self.folder}: no set of heads; draw one with `python -m preprocess heads --output {self.folder}`"
            )
        sets = [open_set(folder) for folder in folders]
        heads = Heads(sets)
        if len(heads) < 2:
            raise InputError(f"{self.folder}: {len(heads)} head(s), need at least 2 (one is held out); add some")
        self.size = sets[0].frames.shape[2]
        held_out = min(self.held_out, max(1, len(heads) // 4))
        self.held_out_pairs = HeldOutPatches(heads, range(held_out))
        self.train_pairs = TrainPatches(heads, range(held_out, len(heads)), seed=self.seed)
        needed = self.batch_size * self._world
        if len(self.train_pairs) < needed:
            raise InputError(
                f"{self.folder}: {len(self.train_pairs)} frame(s) do not fill one batch of {needed}; add heads or "
                "lower --data.batch_size"
            )

    def facts(self) -> dict[str, str]:
        return {"heads": str(len(self.held_out_pairs.heads)), "mesh_sha256": self._hashes}

    @cached_property
    def _hashes(self) -> str:
        return " ".join(hash_file(folder / "mesh.npy") for folder in find_sets(self.folder))
