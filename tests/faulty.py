"""Callbacks that make a training slow or crash, for tests."""

from __future__ import annotations

import time

import pytorch_lightning as L


class Slow(L.Callback):
    def on_train_batch_end(self, *_: object) -> None:
        time.sleep(0.3)


class CrashSecondRank(L.Callback):
    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.global_rank == 1:
            raise RuntimeError("rank 1 crashed on purpose")
