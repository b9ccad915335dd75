"""One training step of vox-adv on a CPU: the plain way and the fast one in turns, and what that does to the losses.

    python benchmarks/training.py --steps 50        # 128x128, batch 4; about 30 s of processor time per step

Plain: float32, contiguous tensors, Adam as PyTorch has it. Fast: bfloat16 by autocast (`--trainer.precision
bf16-mixed`), channels last (`--model.channels_last true`) and a fused Adam (always, on a CPU). Everything of vox-adv's
configuration is on: VGG-19 at four scales (weights by formula), discriminator with keypoints, feature matching,
equivariance. Both start from the same weights and see the same batches of drawn puppets. A third run, also in float32,
starts from weights rounded once to bfloat16: how far its losses are from the plain ones is what such a rounding does by
itself.
"""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from golden_training import vgg19_file

from benchmarks.page import ratio, spread, table
from fomm.model import DiscriminatorConfig
from fomm.training.equivariance import ThinPlate
from fomm.training.losses import total
from fomm.training.module import Training
from preprocess.synthetic.puppets import draw, framing, random_identity, random_motion


def batches(count: int, size: int, batch: int) -> list[dict[str, Tensor]]:
    """Pairs of frames of drawn puppets."""
    made = []
    for number in range(count):
        pairs = []
        for index in range(batch):
            identity, motion = random_identity(batch * number + index), random_motion(number, 12, 6)
            camera = framing(identity, motion, scale=1.6)
            pairs.append([draw(identity, motion[i], size, camera).image for i in (0, 11)])
        sides = torch.from_numpy(np.array(pairs)).permute(1, 0, 4, 2, 3).float() / 255
        made.append({"source": sides[0].contiguous(), "driving": sides[1].contiguous()})
    return made


@dataclass
class Run:
    """A module and its optimisers; `step` is `Training.training_step` without Lightning."""

    module: Training
    fast: bool

    def __post_init__(self) -> None:
        self.optimizers = self.module.configure_optimizers()
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["fused"] = self.fast
        self.losses: list[dict[str, float]] = []
        self.clock: list[float] = []
        self.processor: list[float] = []

    def step(self, batch: dict[str, Tensor], number: int) -> None:
        module, (model_optimizer, critic_optimizer) = self.module, self.optimizers
        begun, busy = time.perf_counter(), time.process_time()
        source, driving = module._layout(batch["source"]), module._layout(batch["driving"])
        d = module.deformation
        draws = torch.Generator().manual_seed(number)
        deformation = ThinPlate.random(len(driving), d.sigma_affine, d.sigma_tps, d.points, draws)
        model_optimizer.zero_grad()
        assert module.discriminator is not None, "`main` asks for one"
        module.discriminator.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            terms, output = module.generator_terms(source, driving, deformation)
        total(terms.values()).backward()
        module.discriminator.requires_grad_(True)
        model_optimizer.step()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast):
            critic = module.discriminator_terms(driving, output)
        critic_optimizer.zero_grad()
        total(critic.values()).backward()
        critic_optimizer.step()
        self.clock.append(time.perf_counter() - begun)
        self.processor.append(time.process_time() - busy)
        self.losses.append({name: float(term.detach()) for name, term in (terms | critic).items()})


def main(steps: int = 50, size: int = 128, batch: int = 4, threads: int | None = None, rounded: bool = True) -> None:
    """Measure.

    Args:
        steps: of each run.
        size: side of the pictures, a multiple of 128.
        batch: pairs per step.
        threads: by default what PyTorch takes.
        rounded: also make the third run.
    """
    if threads:
        torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        weights = str(vgg19_file(Path(folder)))

        def run(fast: bool) -> Run:
            critic = DiscriminatorConfig(use_keypoints=True)
            return Run(Training(discriminator=critic, vgg19_file=weights, channels_last=fast), fast)

        runs = {"plain": run(False), "fast": run(True)}
        if rounded:
            runs["rounded once"] = run(False)
            with torch.no_grad():
                for parameter in runs["rounded once"].module.model.parameters():
                    parameter.copy_(parameter.bfloat16().float())
    data = batches(8, size, batch)
    for number in range(steps):
        for made in list(runs.values()) if number % 2 else reversed(runs.values()):
            made.step(data[number % len(data)], number)
        print(f"step {number + 1} of {steps}", file=sys.stderr)
    print(f"{steps} steps of {size}x{size}, batch {batch}, {torch.get_num_threads()} threads.")
    report(runs)


def report(runs: dict[str, Run]) -> None:
    plain, fast = runs["plain"], runs["fast"]
    rows = []
    for name, unit in (("clock", "s on the clock"), ("processor", "processor s")):
        a, b = (np.array(getattr(run, name)[1:]) for run in (plain, fast))
        rows.append([unit, f"{np.median(a):.2f}", f"{np.median(b):.2f}", spread((a / b).tolist(), "{:.2f}")])
        ratio(f"a training step, fast against plain, {unit}, times as fast", (a / b).tolist())
    table(["a step", "plain", "fast", "times as fast, step by step"], rows)
    rows = []
    for name, run in runs.items():
        if run is plain:
            continue
        for loss in plain.losses[0]:
            mine, theirs = (np.array([step[loss] for step in r.losses]) for r in (run, plain))
            away = 100 * np.abs(mine - theirs) / np.abs(theirs)
            last = f"{mine[-10:].mean():.4f}", f"{theirs[-10:].mean():.4f}"
            rows.append([name, loss, f"{away.mean():.2f} %", f"{away.max():.2f} %", *last])
    table(["run", "loss", "away from plain, mean", "at most", "last ten steps", "those of plain"], rows)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
