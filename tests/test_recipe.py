"""The embedded model's recipe, in small: it learns, within a minute or so, to move puppets that it has never seen."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from pictures import ROOT

import train
from preprocess.synthetic.puppets import write_puppets


@pytest.mark.timeout(900)
def test_the_recipe_in_small_reduces_the_held_out_error(tmp_path: Path) -> None:
    """After 60 steps the held-out L1 is at most 0.65 of that of the unchanged source, and 0.75 of that of step 20."""
    manifest = write_puppets(
        tmp_path / "puppets", identities=20, clips=1, frames=8, size=64, fps=6, seed=1, val=0.1, test=0.01, workers=1
    )
    train.main(
        [
            "fit", f"--config={ROOT / 'configs/puppets-64.yaml'}", f"--data.manifest={manifest}",
            f"--trainer.logger.init_args.save_dir={tmp_path}", "--trainer.accelerator=cpu",
            "--data.batch_size=4", "--trainer.max_steps=60", "--trainer.check_val_every_n_epoch=null",
            "--trainer.val_check_interval=20", "--model.learning_rates.warmup_steps=15",
            "--model.average_decay=0.97", "--snapshots.pairs=0", "--trainer.enable_progress_bar=false",
        ]
    )  # fmt: skip
    rows = list(csv.DictReader((tmp_path / "train/version_0/metrics.csv").open()))
    error, ratio = ([float(row[name]) for row in rows if row[name]] for name in ("val/l1", "val/l1_ratio"))
    assert len(ratio) == 4  # the first one before any step
    assert ratio[-1] <= 0.65, ratio
    assert error[-1] <= 0.75 * error[1], error
