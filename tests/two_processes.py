"""Run by test_metrics in two processes at once: metrics that must come out as in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from fomm.evaluation.measures import Fid
from fomm.evaluation.metrics import METRICS, Summary

PENALTY = 7.0


def clips(name: str, count: int = 5) -> list[np.ndarray]:
    """Values of the frames of some clips, with misses and frames without truth, the same in every process."""
    rng = np.random.default_rng(sorted(METRICS).index(name))
    made = [rng.gamma(2.0, size=length) for length in rng.integers(1, 40, count)]
    for values in made:
        chance = rng.random(len(values))
        values[chance < 0.2] = np.nan
        values[chance > 0.9] = np.inf
    made.append(np.full(3, np.nan))
    return made


def features(count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, 6, generator=generator), 0.5 + 1.5 * torch.randn(count, 6, generator=generator)


def measured(rank: int, processes: int) -> tuple[dict[str, dict[str, float]], float]:
    """What this process' share of the clips gives, put together with the other processes' shares."""
    results = {}
    for name in METRICS:
        summary = Summary(PENALTY)
        for values in clips(name)[rank::processes]:
            summary.update(values)
        results[name] = summary.compute()
    fid = Fid(torch.nn.Identity(), 6)
    for real, rows in zip((True, False), features(), strict=True):
        fid.metric.update(rows[rank::processes], real=real)
    return results, fid.compute()


def main(rank: int, processes: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=processes)
    torch.save(measured(rank, processes), Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()
