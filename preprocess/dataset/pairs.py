"""Who animates whom: lists of pairs for cross-identity evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from fomm.errors import InputError, require_at_least
from fomm.manifest import Clip, Pair, read_manifest, select, write_pairs

PAIRS_NAME = "pairs.csv"


def make_pairs(
    manifest: str,
    *,
    split: Literal["train", "val", "test"] = "test",
    per_clip: int = 1,
    seed: int = 0,
    output: str | None = None,
) -> None:
    """Let each clip drive pictures of other identities, all identities equally often, as far as the numbers go.

    The picture is the first frame of a clip. Equal arguments give equal lists.

    Args:
        manifest: of the clips.
        split: the clips to pair.
        per_clip: how many identities each clip drives.
        seed: of the choice.
        output: the CSV file. Default: pairs.csv beside the manifest.
    """
    path = Path(output) if output else Path(manifest).parent / PAIRS_NAME
    if path.exists():
        raise InputError(f"{path}: exists already; remove it, or give another --output")
    clips = select(read_manifest(manifest), split)
    pairs = choose_pairs(clips, per_clip=per_clip, seed=seed)
    write_pairs(path, pairs)
    print(f"wrote {path}: {len(pairs)} pairs of {len({clip.identity for clip in clips})} identities")


def choose_pairs(clips: list[Clip], *, per_clip: int = 1, seed: int = 0) -> list[Pair]:
    """The pairs, by driving clip in the order of `clips`.

    Raises:
        InputError: fewer identities than a clip is to drive, beside its own; a negative seed.
    """
    of: dict[str, list[Clip]] = {}
    for clip in clips:
        of.setdefault(clip.identity, []).append(clip)
    if not 1 <= per_clip < len(of):
        raise InputError(
            f"--per_clip {per_clip}: the split has {len(of)} identities; must be at least 1 and less than their number"
        )
    require_at_least(seed=(seed, 0))
    rng = np.random.default_rng(seed)
    used = dict.fromkeys(of, 0)
    pairs = []
    for driving in clips:
        others = [name for name in of if name != driving.identity]
        order = sorted(rng.permutation(len(others)), key=lambda i: used[others[i]])  # stable: chance among equals
        for name in (others[i] for i in order[:per_clip]):
            used[name] += 1
            pairs.append(Pair(of[name][rng.integers(len(of[name]))].clip_id, driving.clip_id))
    return pairs
