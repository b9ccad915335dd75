"""The sound of a video, moved along into another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path
from typing import Literal

import av
import numpy as np

from fomm.video.decoding import clock, opened_container
from fomm.video.reader import VideoReader
from fomm.video.streams import choose_audio


@dataclass(eq=False)
class Sound:
    """The sound of one video, moved to the clock of another and handed out as far as the picture has come."""

    # Codecs that a container takes as they are and that browsers play from it.
    _COPIED = {"mp4": ("aac", "mp3"), "mov": ("aac", "mp3", "alac", "pcm_s16le"), "webm": ("opus", "vorbis")}
    # Copied packets from a little before the start let the decoder settle; an edit list in the mp4 hides them.
    _PREROLL = Fraction(1, 10)
    # Stamps of recorders jitter by some ms around the count of samples; only beyond this is it a gap.
    _GAP = Fraction(1, 50)

    session: AbstractContextManager[av.container.InputContainer]
    source: av.container.InputContainer
    stream: av.AudioStream
    origin: Fraction  # s on the clock of the file: zero of the result
    warnings: list[str]
    path: Path
    # from attach() on
    out: av.container.OutputContainer = field(init=False)
    out_stream: av.AudioStream = field(init=False)
    _items: Iterator[tuple[Fraction, av.Packet | av.AudioFrame]] = field(init=False)
    _next: tuple[Fraction, av.Packet | av.AudioFrame] | None = field(init=False)

    @classmethod
    def open(cls, reader: VideoReader, start: Fraction, warnings: list[str]) -> Sound | None:
        """The sound of a video from `start` on (seconds from its first frame); None if it cannot be decoded."""
        path = reader.path
        session = opened_container(path)
        container = session.__enter__()
        stream = choose_audio(container, path, reader.audio_stream)
        if stream is None:
            session.__exit__(None, None, None)
            warnings.append(f"{path}: its sound is of an unknown kind and was left out")
            return None
        return cls(session, container, stream, reader.start_time + start, warnings, path)

    def attach(self, out: av.container.OutputContainer, kind: str) -> None:
        """Add a stream for the sound to `out` and get ready to fill it."""
        self.out = out
        codec = self.stream.codec_context
        headed = kind == "webm" or codec.name != "aac" or bool(codec.extradata)  # bare ADTS has no header to copy
        if codec.name in self._COPIED[kind] and headed:
            self.out_stream = out.add_stream_from_template(self.stream)
            self._items = self._copied(kind)
        else:
            rate = codec.sample_rate if kind != "webm" and codec.sample_rate in (32000, 44100, 48000) else 48000
            layout = "mono" if codec.channels == 1 else "stereo"
            bit_rate = 96_000 if layout == "mono" else 160_000
            encoder: Literal["libopus", "aac"] = "libopus" if kind == "webm" else "aac"
            self.out_stream = out.add_stream(encoder, rate=rate, layout=layout, bit_rate=bit_rate)
            self.out_stream.codec_context.time_base = Fraction(1, rate)
            self._items = self._encoded(rate, layout)
        self._next = next(self._items, None)

    def play_until(self, end: Fraction) -> None:
        """Hand out what begins before `end` (seconds from the first frame of the result)."""
        while self._next is not None and self._next[0] < end:
            item = self._next[1]
            if isinstance(item, av.AudioFrame):
                self.out.mux(self.out_stream.encode(item))
            else:
                item.stream = self.out_stream
                self.out.mux(item)
            self._next = next(self._items, None)

    def finish(self) -> None:
        """Hand out what the encoder holds back."""
        if self.out_stream.codec_context.is_encoder:
            self.out.mux(self.out_stream.encode(None))

    def close(self) -> None:
        with suppress(Exception):
            self.session.__exit__(None, None, None)

    def _packets(self) -> Iterator[av.Packet[av.AudioStream]]:
        try:
            for packet in self.source.demux(self.stream):
                if packet.size and packet.pts is not None:
                    yield packet
        except av.FFmpegError as error:
            self.warnings.append(f"{self.path}: the sound is damaged and ends early ({error.strerror})")

    def _copied(self, kind: str) -> Iterator[tuple[Fraction, av.Packet]]:
        preroll = self._PREROLL
        if kind == "webm":  # no edit lists; a decoder drops what Opus calls pre-skip, so that much may lie before zero
            head = self.stream.codec_context.extradata or b""
            preroll = Fraction(int.from_bytes(head[10:12], "little") if head[:8] == b"OpusHead" else 0, 48000)
        frame_size, rate = self.stream.codec_context.frame_size, self.stream.codec_context.sample_rate
        length = Fraction(frame_size, rate) if frame_size and rate else None
        tick = clock(self.stream)
        expected = None
        for packet in self._packets():
            assert packet.pts is not None, "_packets leaves out those"
            time = packet.pts * tick - self.origin
            # Coarse clocks (mkv: 1 ms) round each stamp; within a tick the count of samples is the better truth.
            if expected is not None and abs(time - expected) <= tick:
                time = expected
            packet_length = length or (packet.duration or 0) * tick
            expected = time + packet_length
            if (time + tick if kind == "webm" else expected) < -preroll:
                continue
            fine = Fraction(1, rate or 48000) if kind != "webm" else tick
            packet.time_base = fine
            packet.pts = packet.dts = round(time / fine)
            packet.duration = round(packet_length / fine)
            yield time, packet

    def _encoded(self, rate: int, layout: str) -> Iterator[tuple[Fraction, av.AudioFrame]]:
        channels = 1 if layout == "mono" else 2
        position = 0  # samples handed out: the timeline of the result
        started = False
        for samples, time in self._resampled(rate, layout):
            target = position if time is None else round((time - self.origin) * rate)
            gap = target - position
            if not started or abs(gap) > self._GAP * rate:
                if gap < 0:
                    samples = samples[:, -gap:]
                    if not samples.shape[1]:
                        continue
                for begin in range(position, target, rate):  # silence, a second at a time
                    silence = np.zeros((channels, min(rate, target - begin)), np.float32)
                    yield Fraction(begin, rate), _audio_frame(silence, layout, rate, begin)
                position = max(position, target)
                started = True
            yield Fraction(position, rate), _audio_frame(samples, layout, rate, position)
            position += samples.shape[1]

    def _resampled(self, rate: int, layout: str) -> Iterator[tuple[np.ndarray, Fraction | None]]:
        # Joined recordings change the kind of sound on the way; a resampler takes only one.
        for _, frames in groupby(self._frames(), lambda frame: (frame.format.name, frame.layout.name, frame.rate)):
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
            for frame in chain(frames, [None]):
                for out in resampler.resample(frame):
                    yield out.to_ndarray(), None if out.pts is None else out.pts * clock(out)

    def _frames(self) -> Iterator[av.AudioFrame]:
        for packet in self._packets():
            with suppress(av.FFmpegError):
                yield from self.stream.decode(packet)


def _audio_frame(samples: np.ndarray, layout: str, rate: int, position: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples, np.float32), format="fltp", layout=layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
    return frame
