"""The models that a checkpoint may hold; its metadata says by these names which one it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

from torch import nn

from fomm.checkpoint.sizes import Shapes, infer_config, infer_face_config
from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, GeneratorConfig, ModelConfig
from fomm.model.face import FaceConfig, FaceModel

Model: TypeAlias = FOMM | FaceModel
Config: TypeAlias = ModelConfig | FaceConfig


class Architecture(NamedTuple):
    """A model, and its configuration as files tell it."""

    kind: type[nn.Module]  # the model's class
    build: Callable[[Any], Model]  # the model of a config, with fresh weights
    stored: Callable[[Mapping[str, Any]], Config]  # of a file's metadata; TypeError or KeyError where it is none
    infer: Callable[[Shapes], Config]  # from names and shapes of tensors


def _stored_fomm(stored: Mapping[str, Any]) -> ModelConfig:
    parts = {"detector": DetectorConfig, "dense_motion": DenseMotionConfig, "generator": GeneratorConfig}
    return ModelConfig(**{**stored, **{name: cls(**stored[name]) for name, cls in parts.items()}})


FOMM_NAME, FACE_NAME = "fomm", "face"
ARCHITECTURES = {
    FOMM_NAME: Architecture(FOMM, FOMM.from_config, _stored_fomm, infer_config),
    FACE_NAME: Architecture(FaceModel, FaceModel, lambda stored: FaceConfig(**stored), infer_face_config),
}


def name_of(model: nn.Module) -> str:
    """By which name its files know a model."""
    return next(name for name, architecture in ARCHITECTURES.items() if isinstance(model, architecture.kind))
