"""Weights on disk: load what the original, a training run or this package wrote, and write them back."""

from typing import TYPE_CHECKING

from fomm.lazy import lazily

if TYPE_CHECKING:
    from fomm.checkpoint.formats import TrainingState
    from fomm.checkpoint.load import Checkpoint, CheckpointInfo, InitReport, LoadedModel, load_model, run_checkpoint
    from fomm.checkpoint.onnx import export_onnx
    from fomm.checkpoint.save import export_original, save_weights
    from fomm.checkpoint.sizes import infer_config, infer_discriminator_config

__all__ = [
    "Checkpoint",
    "CheckpointInfo",
    "InitReport",
    "LoadedModel",
    "TrainingState",
    "export_onnx",
    "export_original",
    "infer_config",
    "infer_discriminator_config",
    "load_model",
    "run_checkpoint",
    "save_weights",
]

__getattr__ = lazily(
    __name__,
    {
        "formats": ("TrainingState",),
        "load": ("Checkpoint", "CheckpointInfo", "InitReport", "LoadedModel", "load_model", "run_checkpoint"),
        "onnx": ("export_onnx",),
        "save": ("export_original", "save_weights"),
        "sizes": ("infer_config", "infer_discriminator_config"),
    },
)
