"""From one source picture and a stream of driving frames to animated frames, and to the finished file."""

from typing import TYPE_CHECKING

from fomm.lazy import lazily

if TYPE_CHECKING:
    from fomm.animator.animator import Animator, to_pictures
    from fomm.animator.device import choose_device, lanes_for
    from fomm.animator.render import Rendered, animated_frames

__all__ = [
    "Animator",
    "Rendered",
    "animated_frames",
    "choose_device",
    "lanes_for",
    "to_pictures",
]

__getattr__ = lazily(
    __name__,
    {
        "animator": ("Animator", "to_pictures"),
        "device": ("choose_device", "lanes_for"),
        "render": ("Rendered", "animated_frames"),
    },
)
