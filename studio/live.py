"""A camera drives a photo: on the page, where its pictures come in and go out as JPEG files; or for another program."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from PIL import Image

from fomm.animator.lanes import Lanes
from fomm.animator.provenance import Label
from fomm.animator.settings import AnimationSettings, Region
from fomm.errors import InputError
from fomm.model.face import Moved, Strength
from fomm.pixels import to_pictures
from fomm.video import VideoWriter, prefetch
from fomm.video.camera import Camera, camera_frames
from preprocess.crop import Crop, Paster, shrunk
from preprocess.faces import choose_face
from preprocess.pairing import pair_frame
from preprocess.portraits import camera_crop, find_portrait
from studio.recording import count_down
from studio.tools import CropTools, PortraitTools, Tools, sitter_of

LIVE_PX = 512  # longer side of the photo in a live picture
MAX_CAMERA_PX = 1920 * 1080
JPEG_QUALITY = 85
FAST = 0.75  # of the model's size; at half of it the models lose eyes and mouth
SENT_FPS = 30  # what is sent to other programs
MOST_S = 0.5  # a longer pause between two pictures counts as this


class Setting(NamedTuple):
    """What a visitor wants to see live; `fast`: a smaller picture."""

    photo: str
    checkpoint: str
    fast: bool
    region: Region = "all"
    strength: str = "1"


class Live(Protocol):
    """One photo, driven by a camera.

    `begin` takes a camera picture whose pose is taken for the photo's and fixes the crops; from then on each other one
    is first looked at, in order, and then shown, by several threads at once.
    """

    setting: object  # what this was made for
    ready: bool  # whether it has begun

    def begin(self, frame: np.ndarray) -> None:
        """Take the pose in this camera picture (h, w, 3) uint8 RGB for the photo's.

        Raises:
            InputError: it shows no face; says what to do. What was begun before goes on.
        """

    def look(self, frame: np.ndarray) -> Any:
        """What `show` needs of a camera picture (h, w, 3) uint8 RGB; for one picture after the other."""

    def show(self, seen: Any) -> np.ndarray:
        """The photo (H, W, 3) uint8 in the pose of the picture that was looked at."""


def make_live(
    tools: Tools, photo: np.ndarray, setting: object, settings: AnimationSettings, *, fast: bool = False
) -> Live:
    """`photo` (H, W, 3) uint8 RGB, ready for a camera; large ones are shrunk, nobody sees the difference live.

    Args:
        settings: of which `region`, `strength` and `face` matter.

    Raises:
        InputError: the photo shows no face, or the model moves no parts of it.
    """
    if isinstance(tools, PortraitTools):
        side = round(FAST * LIVE_PX) if fast else LIVE_PX
        return LivePortrait(tools, shrunk(photo, side), setting, Strength(**settings.strengths), settings.face)
    assert isinstance(tools, CropTools)
    tools.check_parts(settings)
    size, stride = tools.checkpoint.image_size, tools.animator.model.stride
    size = max(stride, int(FAST * size) // stride * stride) if fast else size
    return LiveCrop(tools, shrunk(photo, LIVE_PX), setting, size, settings.face)


def send_live(
    camera: Camera,
    photo: np.ndarray,
    output: Path,
    settings: AnimationSettings,
    tools: Tools,
    say: Callable[[str], None],
) -> None:
    """Drive a photo (H, W, 3) uint8 RGB by a camera for another program, until the camera or that program ends.

    No picture waits: one that comes while others are worked on takes the place of the one before. All bear the mark.

    Args:
        output: what `VideoWriter` hands frames to: `-`, a named pipe, or `camera`.
        settings: of which `region`, `strength` and `face` matter.
        say: is called with the countdown and the hints, one line each.

    Raises:
        InputError: the photo or the camera's last picture before the start shows no face, there is no virtual camera,
            or the camera stopped.
        BrokenPipeError: the program that read the frames has gone.
    """
    live = make_live(tools, photo, None, settings)
    live.begin(count_down(camera, tools.faces, say).image)
    say("live, until Ctrl-C")
    mark, begun = Label(), time.monotonic_ns()
    frames = prefetch(camera_frames(camera, math.inf), newest=True)
    with Lanes() as lanes, closing(frames), VideoWriter(output, fps=SENT_FPS) as writer:
        for picture in lanes.map(live.show, (live.look(frame.image) for frame in frames)):
            writer.write(mark(picture), Fraction(time.monotonic_ns() - begun, 10**9))


class LiveCrop:
    """A `Live` for models of the paper: crops alike on both sides.

    Args:
        photo: (H, W, 3) uint8 RGB.
        size: side of the animated picture in pixels, a multiple of the model's stride; the time grows with its square.
        face: which one of the photo; None: the largest.
    """

    def __init__(self, tools: CropTools, photo: np.ndarray, setting: object, size: int, face: int | None) -> None:
        self.setting, self.ready = setting, False
        self._photo = photo
        self._face = choose_face(tools.faces.find(photo), face, "photo")
        self._finder, self._size, self._scale = tools.faces, size, tools.scale
        self._animator = tools.animator

    def begin(self, frame: np.ndarray) -> None:
        pairing = pair_frame(self._photo, self._face, frame, self._finder, size=self._size, scale=self._scale)
        assert pairing.initial is not None and isinstance(pairing.source_crop, Crop)
        follow = self._animator.follower(pairing.source, pairing.initial)
        paste = Paster(self._photo, pairing.source_crop)
        # one value, which other threads see all of or nothing
        self._animate = lambda seen: paste(*to_pictures(follow([pairing.view(seen)]).prediction))
        self.ready = True

    def look(self, frame: np.ndarray) -> np.ndarray:
        return frame

    def show(self, seen: np.ndarray) -> np.ndarray:
        assert self.ready, "`begin` comes first"
        return self._animate(seen)


class LivePortrait:
    """A `Live` for model `face`: landmarks are filtered in time; the photo's own pixels move.

    Args:
        photo: (H, W, 3) uint8 RGB.
        face: which one of the photo; None: the largest.
    """

    def __init__(
        self, tools: PortraitTools, photo: np.ndarray, setting: object, strength: Strength, face: int | None
    ) -> None:
        self.setting, self.ready = setting, False
        self._finder, self._animator = tools.faces, tools.animator
        found = find_portrait(photo, Path("photo"), tools.faces, face)
        self._portrait = self._animator.portrait(sitter_of(photo, found, tools.faces))
        self._looked, self._strength = 0.0, strength

    def begin(self, frame: np.ndarray) -> None:
        view = camera_crop(frame, self._finder).apply
        follow = self._animator.follow(self._portrait.source, view(frame), strength=self._strength)
        self._follow = lambda frame, seconds: follow(view(frame), seconds)
        self.ready = True

    def look(self, frame: np.ndarray) -> Moved:
        assert self.ready, "`begin` comes first"
        now = time.monotonic()
        seconds, self._looked = min(now - self._looked, MOST_S), now
        return self._follow(frame, seconds)

    def show(self, seen: Moved) -> np.ndarray:
        return self._portrait(seen)


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
