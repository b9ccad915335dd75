"""From one source picture and a stream of driving frames to animated frames, and to the finished file."""

from typing import TYPE_CHECKING

from fomm.lazy import lazily

if TYPE_CHECKING:
    from fomm.animator.animator import Animator
    from fomm.animator.detail import SourceDetail
    from fomm.animator.device import choose_device, lanes_for
    from fomm.animator.render import Rendered, animated_frames
    from fomm.animator.settings import AnimationSettings, ModelSettings

__all__ = [
    "AnimationSettings",
    "Animator",
    "ModelSettings",
    "Rendered",
    "SourceDetail",
    "animated_frames",
    "choose_device",
    "lanes_for",
]

__getattr__ = lazily(
    __name__,
    {
        "animator": ("Animator",),
        "detail": ("SourceDetail",),
        "device": ("choose_device", "lanes_for"),
        "settings": ("AnimationSettings", "ModelSettings"),
        "render": ("Rendered", "animated_frames"),
    },
)
