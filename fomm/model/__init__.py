"""The paper: the networks, the geometry between them, and `FOMM`, which composes them."""

from fomm.model.fomm import (
    FOMM,
    DenseMotionConfig,
    DetectorConfig,
    DiscriminatorConfig,
    EncodedSource,
    GeneratorConfig,
    ModelConfig,
    Output,
)

__all__ = [
    "FOMM",
    "DenseMotionConfig",
    "DetectorConfig",
    "DiscriminatorConfig",
    "EncodedSource",
    "GeneratorConfig",
    "ModelConfig",
    "Output",
]
