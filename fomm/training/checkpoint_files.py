"""How a training's checkpoints get to the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning_fabric.plugins.io import TorchCheckpointIO

from fomm.checkpoint.save import write_torch


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole, or the older one is.

    Lightning's own way goes through the system's temporary folder. Where that is another file system, its last step is
    a copy over the old checkpoint: a run that is killed in it has lost the only one from which it could go on.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Raises InputError where it cannot be written."""
        write_torch(path, checkpoint)
