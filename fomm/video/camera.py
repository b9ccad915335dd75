"""A webcam as a stream of frames with the times at which they were seen.

OpenCV opens the camera, on every system by number; sound is not recorded.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Protocol

import cv2
import numpy as np

from fomm.errors import InputError
from fomm.video.reader import Frame

CLOCK = Fraction(1, 1000)  # s; cameras are not more exact


class Camera(Protocol):
    """What is used of `cv2.VideoCapture`."""

    def read(self) -> tuple[bool, np.ndarray]: ...  # waits for the next picture, (H, W, 3) uint8 BGR


@contextmanager
def opened_camera(number: int = 0) -> Iterator[Camera]:
    """The machine's camera of this number, closed in the end; raises InputError where none is there, or free."""
    cv2.setLogLevel(0)  # what it has to say is said below, in one line
    capture = cv2.VideoCapture(number)
    try:
        if not capture.isOpened():
            where = f"/dev/video{number}" if os.path.isdir("/dev") and os.name == "posix" else f"number {number}"
            raise InputError(
                f"webcam: no camera could be opened ({where}); connect one or close the program that uses it, name "
                "another one by --driving webcam:1, or record with any program and give the file as --driving"
            )
        yield capture
    finally:
        capture.release()


def camera_frames(camera: Camera, seconds: float) -> Iterator[Frame]:
    """Frames (H, W, 3) uint8 RGB as they are seen, for so long; times count from the first one. Raises InputError where
    the camera gives no picture (any more)."""
    begun = last = None
    while True:
        found, image = camera.read()
        if not found:
            raise InputError("webcam: the camera stopped giving pictures; check its cable, or that no program took it")
        now = time.monotonic()
        begun = now if begun is None else begun
        seen = round((now - begun) / CLOCK) * CLOCK
        if seen > seconds:
            return
        if last is None or seen > last:  # two pictures within a tick of the clock: the first one stands
            yield Frame(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), seen)
            last = seen
