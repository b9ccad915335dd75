"""Frames to and from files: one streaming reader, one streaming writer, and single pictures.

Conventions, used everywhere else too:
- a picture is (H, W, 3) uint8 sRGB, upright, with square pixels: display rotation, EXIF orientation and sample aspect
  are already applied, HDR, wide colours and colour profiles converted, half pictures (interlaced video) completed,
  transparency is composited on white;
- time is a `Fraction` of seconds counted from the first frame of the video, exact as the file stores it;
- memory does not grow with the length of a video: one frame is held at a time (the codecs hold a few more).

Only local files are opened. This module is the face of the ones behind it: `pictures`, `reader` (on
`streams`, `decoding` and `colour`), `writer` (on `encoding`, `feeds` and `sound`) and `prefetch`.
"""

from fomm.video.encoding import MAX_VIDEO_PIXELS
from fomm.video.feeds import feed, is_pipe
from fomm.video.pictures import (
    DIGITAL_SOURCE_TYPE,
    SYNTHETIC,
    SYNTHETIC_COMPOSITE,
    frame_files,
    picture_size,
    read_image,
    write_image,
)
from fomm.video.prefetch import prefetch
from fomm.video.reader import VIDEO_SUFFIXES, Frame, LazyFrame, VideoReader, read_frames
from fomm.video.writer import VideoWriter

__all__ = [
    "DIGITAL_SOURCE_TYPE",
    "MAX_VIDEO_PIXELS",
    "SYNTHETIC",
    "SYNTHETIC_COMPOSITE",
    "VIDEO_SUFFIXES",
    "Frame",
    "LazyFrame",
    "VideoReader",
    "VideoWriter",
    "feed",
    "is_pipe",
    "frame_files",
    "picture_size",
    "prefetch",
    "read_frames",
    "read_image",
    "write_image",
]
