"""First Order Motion Model: animate a picture with a driving video, train it, evaluate it.

The names below load when they are first used.
"""

from typing import TYPE_CHECKING

from fomm.lazy import lazily
from fomm.version import __version__

if TYPE_CHECKING:
    from fomm.animator import AnimationSettings, Animator, SourceDetail
    from fomm.checkpoint import LoadedModel, load_model, save_weights
    from fomm.errors import InputError, MissingWeightsError
    from fomm.manifest import read_manifest
    from fomm.model import FOMM, ModelConfig
    from fomm.video import VideoReader, VideoWriter, read_image, write_image

__all__ = [
    "FOMM",
    "AnimationSettings",
    "Animator",
    "InputError",
    "LoadedModel",
    "MissingWeightsError",
    "ModelConfig",
    "SourceDetail",
    "VideoReader",
    "VideoWriter",
    "__version__",
    "load_model",
    "read_image",
    "read_manifest",
    "save_weights",
    "write_image",
]

__getattr__ = lazily(
    __name__,
    {
        "animator": ("AnimationSettings", "Animator", "SourceDetail"),
        "checkpoint": ("LoadedModel", "load_model", "save_weights"),
        "errors": ("InputError", "MissingWeightsError"),
        "manifest": ("read_manifest",),
        "model": ("FOMM", "ModelConfig"),
        "video": ("VideoReader", "VideoWriter", "read_image", "write_image"),
    },
)
