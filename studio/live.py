"""A camera drives a photo: pictures of the camera come in as JPEG files, animated ones go out."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from fomm.animator import to_pictures
from fomm.errors import InputError
from fomm.model import Output
from preprocess.crop import Paster
from preprocess.faces import choose_face
from preprocess.pairing import pair_frame
from studio.animation import Options, Tools, crop_scale
from studio.shown import shrunk

LIVE_PX = 512  # longer side of the photo in a live picture
MAX_CAMERA_PX = 1920 * 1080
JPEG_QUALITY = 85
FAST = 0.75  # of the model's size; at half of it the models lose eyes and mouth


class Setting(NamedTuple):
    """What a visitor wants to see live; `fast`: a smaller picture."""

    photo: str
    checkpoint: str
    fast: bool


@dataclass(frozen=True)
class _Begun:
    """All that follows from the neutral pose."""

    view: Callable[[np.ndarray], np.ndarray]
    follow: Callable[[list[np.ndarray]], Output]
    paste: Paster


class Live:
    """One photo, driven by a camera.

    `begin` takes a camera picture whose pose is taken for the photo's and fixes both crops; from then on `live(frame)`
    animates any other, from several threads at once.

    Args:
        photo: (H, W, 3) uint8 RGB; large ones are shrunk, nobody sees the difference live.
        setting: what this was made for.
        size: side of the animated picture in pixels, a multiple of the model's stride; the time grows with its square.

    Raises:
        InputError: the photo shows no face.
    """

    def __init__(self, tools: Tools, photo: np.ndarray, setting: object, *, size: int) -> None:
        self.setting = setting
        self._photo = shrunk(photo, LIVE_PX)
        self._face = choose_face(tools.finder.find(self._photo), None, "photo")
        self._finder, self._size, self._scale = tools.finder, size, crop_scale(Options("", "", ""), tools)
        self._animator = tools.animator
        self._begun: _Begun | None = None

    @property
    def ready(self) -> bool:
        return self._begun is not None

    def begin(self, frame: np.ndarray) -> None:
        """Take the pose in this camera picture (h, w, 3) uint8 RGB for the photo's.

        Raises:
            InputError: it shows no face; says what to do. What was begun before goes on.
        """
        pairing = pair_frame(self._photo, self._face, frame, self._finder, size=self._size, scale=self._scale)
        follow = self._animator.follower(pairing.source, pairing.initial)
        self._begun = _Begun(pairing.view, follow, Paster(self._photo, pairing.source_crop))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Camera picture (h, w, 3) uint8 RGB -> the photo (H, W, 3) uint8 in its pose."""
        begun = self._begun
        (picture,) = to_pictures(begun.follow([begun.view(frame)]).prediction)
        return begun.paste(picture)


def live_size(tools: Tools, fast: bool) -> int:
    """Side of the animated picture, in pixels."""
    size, stride = tools.checkpoint.image_size, tools.animator.model.stride
    return max(stride, int(FAST * size) // stride * stride) if fast else size


def read_jpeg(data: bytes) -> np.ndarray:
    """A camera's picture (h, w, 3) uint8 RGB.

    Raises:
        InputError: it is none, or larger than a camera's pictures are.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:  # reads the head alone
            if picture.width * picture.height > MAX_CAMERA_PX:
                raise InputError(f"the camera's picture has {picture.width}x{picture.height} pixels: too many")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError("the camera's picture cannot be read") from error
    frame = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)  # unlike Pillow lets other threads run
    if frame is None:
        raise InputError("the camera's picture cannot be read")
    return frame


def as_jpeg(picture: np.ndarray) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()
