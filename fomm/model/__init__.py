"""The paper: the networks, the geometry between them, and `FOMM`, which composes them."""

from typing import TYPE_CHECKING

from fomm.lazy import lazily

if TYPE_CHECKING:
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

__getattr__ = lazily(__name__, {"fomm": __all__})
