"""Pictures and sound as they are meant: colours, streams, half pictures. Each file is made here, independently."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_videos import number_in, numbered
from pictures import ROOT
from PIL import Image

from fomm.errors import InputError
from fomm.video import VideoReader, VideoWriter, read_frames, read_image, write_image

SPEAKER = ROOT / "fomm" / "assets" / "speaker.mp4"
# CIE XYZ of the primaries: ITU-R BT.2087 (BT.709 to BT.2020), and of Display P3 and Adobe RGB (1998) for white D50, as
# their published profiles have them.
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
P3_XYZ = (0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)
ADOBE_XYZ = (0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)
SRGB_XYZ = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)


def light(srgb: np.ndarray) -> np.ndarray:
    value = srgb / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def as_pq(srgb: np.ndarray) -> np.ndarray:
    """White at 203 nits, SMPTE ST 2084."""
    power = (np.clip(light(srgb) @ TO_BT2020.T, 0, 1) * 203 / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def as_hlg(srgb: np.ndarray) -> np.ndarray:
    """White at 75 %, ARIB STD-B67."""
    scene = np.clip(light(srgb) @ TO_BT2020.T, 0, 1) * 0.26496
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


def write_hdr(
    path: Path, images: Iterable[np.ndarray], encode: Callable[[np.ndarray], np.ndarray], transfer: int
) -> Path:
    """As phones record: HEVC, 10 bit, BT.2020, tagged."""
    images = list(images)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=25, options={"x265-params": "log-level=none:crf=8"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace, context.color_range = transfer, 9, 9, 1
        for index, image in enumerate(images):
            deep = (encode(image) * 65535).round().astype(np.uint16)
            frame = av.VideoFrame.from_ndarray(deep, "rgb48le")
            frame = frame.reformat(format="yuv420p10le", dst_colorspace=9, dst_color_range=1)
            frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, 9, 9, 1
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


# ---------------------------------------------------------------------------------------------------------------- HDR


@pytest.mark.parametrize("encode, transfer", [(as_pq, 16), (as_hlg, 18)], ids=["PQ", "HLG"])
def test_hdr_video_is_read_as_the_sdr_picture_that_it_was_made_from(
    tmp_path: Path, encode: Callable[[np.ndarray], np.ndarray], transfer: int
) -> None:
    images = [frame.image for frame in VideoReader(SPEAKER).frames(0, 3)]
    clip = write_hdr(tmp_path / "hdr.mp4", images, encode, transfer)
    lazy = list(VideoReader(clip).lazy_frames())
    seen = [frame.image for frame in lazy]
    assert max(difference(a, b) for a, b in zip(seen, images, strict=True)) < 3
    assert np.std(seen[0]) == pytest.approx(np.std(images[0]), rel=0.05)
    assert np.array_equal(read_frames(clip, [2])[0], seen[2])
    box = 31, 40, 171, 133
    assert np.array_equal(lazy[1].region(box), seen[1][40:133, 31:171])
    small = cv2.resize(images[0], (32, 32), interpolation=cv2.INTER_AREA)
    assert difference(lazy[0].thumbnail(32), small) < 6


def test_what_is_brighter_than_white_keeps_its_order_and_hue() -> None:
    from fomm.video.colour import to_srgb

    convert = to_srgb(16, 9)
    nits = np.array([100, 203, 400, 1000, 4000])
    power = (nits / 10000) ** 0.1593017578125
    signal = ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    grey = convert(np.repeat((signal * 65535).round().astype(np.uint16)[None, :, None], 3, axis=2))[0]
    assert grey[0, 0] == pytest.approx(255 * (1.055 * (100 / 203) ** (1 / 2.4) - 0.055), abs=1)  # below: as it is
    assert 245 <= grey[1, 0] < grey[2, 0] <= grey[3, 0] <= grey[4, 0] and np.all(np.ptp(grey, axis=1) == 0)
    lamp = np.array([[[signal[3], signal[1], signal[0]]]])  # red above all
    red, green, blue = convert((lamp * 65535).round().astype(np.uint16))[0, 0].astype(int)
    assert red > green > blue > 0


def test_results_say_that_they_are_sdr(tmp_path: Path) -> None:
    image = numbered(5)
    with VideoWriter(tmp_path / "r.mp4") as writer:
        writer.write(image)
    with av.open(str(tmp_path / "r.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range) == (1, 1, 1, 1)
    write_image(tmp_path / "r.png", image)
    write_image(tmp_path / "r.jpg", image)
    with Image.open(tmp_path / "r.png") as png, Image.open(tmp_path / "r.jpg") as jpeg:
        assert png.info["srgb"] == 0 and b"sRGB" in jpeg.info["icc_profile"].replace(b"\0", b"")
    assert np.array_equal(read_image(tmp_path / "r.png"), image)  # the profile that says so changes nothing
    written = (tmp_path / "r.jpg").read_bytes()
    write_image(tmp_path / "r.jpg", image)
    assert (tmp_path / "r.jpg").read_bytes() == written


# ------------------------------------------------------------------------------------------------------------- profiles


def icc_profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2, by its specification."""
    table, body, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += b"\0" * (-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    size = offset + len(body)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", size, b"\0" * 4, 0x02400000, b"mntr", space, pcs, b"\x07\xd0\0\1\0\1" + b"\0" * 6, b"acsp"
    )
    head = head.ljust(68, b"\0") + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def matrix_profile(primaries_xyz: Sequence[Sequence[float]], gamma: float) -> bytes:
    def xyz(values: Iterable[float]) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(65536 * value) for value in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(256 * gamma))
    tags = {b"wtpt": xyz((0.9642, 1, 0.8249))}
    for name, column in zip(b"rgb", primaries_xyz, strict=True):
        tags[bytes([name]) + b"XYZ"] = xyz(column)
        tags[bytes([name]) + b"TRC"] = curve
    return icc_profile(b"RGB ", b"XYZ ", tags)


def expected_srgb(colour: Sequence[int], primaries_xyz: Sequence[Sequence[float]], gamma: float) -> np.ndarray:
    linear = np.linalg.solve(np.array(SRGB_XYZ).T, np.array(primaries_xyz).T @ (np.array(colour) / 255) ** gamma)
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("primaries, gamma", [(P3_XYZ, 2.2), (ADOBE_XYZ, 563 / 256)], ids=["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_photo_keeps_its_colours(tmp_path: Path, primaries: Sequence, gamma: float, suffix: str) -> None:
    colours = [(168, 71, 45), (60, 120, 90), (200, 200, 200)]
    path = tmp_path / f"photo{suffix}"
    bands = np.repeat(np.array(colours, np.uint8), 32, axis=0)[:, None].repeat(48, axis=1)
    options = {} if suffix == ".png" else {"quality": 100}
    Image.fromarray(bands).save(path, icc_profile=matrix_profile(primaries, gamma), **options)
    for seen in (read_image(path), next(iter(VideoReader(path))).image):
        for index, colour in enumerate(colours):
            assert seen[32 * index + 16, 24] == pytest.approx(expected_srgb(colour, primaries, gamma), abs=4)
    assert difference(read_image(path)[16, 24], np.array(colours[0])) > 4


def test_a_profile_leaves_transparency_and_turns_alone(tmp_path: Path) -> None:
    rgba = np.zeros((10, 20, 4), np.uint8)
    rgba[:, :, :3], rgba[:, 10:, 3] = (168, 71, 45), 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(rgba).save(tmp_path / "a.png", icc_profile=matrix_profile(P3_XYZ, 2.2), exif=exif)
    seen = read_image(tmp_path / "a.png")
    assert seen.shape == (20, 10, 3) and np.all(seen[:9] == 255)
    assert seen[15, 5] == pytest.approx(expected_srgb((168, 71, 45), P3_XYZ, 2.2), abs=2)


def test_cmyk_is_read_by_its_profile(tmp_path: Path) -> None:
    """One whose cyan ink is a dull green, which no rule of thumb would make of it."""

    def lab(lightness: float, a: float, b: float) -> list[int]:
        return [round(lightness * 2.55), round(a) + 128, round(b) + 128]

    # Of each ink none or all; cyan changes slowest, black fastest.
    corners = [lab(0, 0, 0) if i & 1 else lab(50, -20, 10) if i & 8 else lab(95, 0, 0) for i in range(16)]
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + matrix + identity * 4 + bytes(sum(corners, [])) + identity * 3
    profile = icc_profile(b"CMYK", b"Lab ", {b"A2B0": table})
    Image.new("CMYK", (16, 16), (255, 0, 0, 0)).save(tmp_path / "a.tif", icc_profile=profile)
    red, green, blue = read_image(tmp_path / "a.tif")[8, 8].astype(int)
    assert 100 < green < 160 and green > red + 20 and green > blue + 5


def test_a_profile_that_is_nonsense_is_passed_over(tmp_path: Path) -> None:
    grey = icc_profile(b"GRAY", b"XYZ ", {})
    for name, profile in (("a.png", b"nonsense"), ("b.png", matrix_profile(P3_XYZ, 2.2)[:200]), ("c.png", grey)):
        Image.fromarray(numbered(3)).save(tmp_path / name, icc_profile=profile)
        assert np.array_equal(read_image(tmp_path / name), numbered(3))


# -------------------------------------------------------------------------------------------------------------- streams


def write_streams(path: Path, *, cover_first: bool, flag: str | None = None) -> Path:
    """A film of 64x48 with a cover of 400x300 that says nothing of itself, and two sounds: 300 Hz, then 1 kHz."""
    with av.open(str(path), "w") as container:

        def add_cover() -> av.VideoStream:
            cover = container.add_stream("mjpeg", rate=1)
            cover.width, cover.height, cover.pix_fmt = 400, 300, "yuvj420p"
            return cover

        cover = add_cover() if cover_first else None
        film = container.add_stream("libx264", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        cover = cover or add_cover()
        sounds = [container.add_stream("aac", rate=48000, layout="mono") for _ in range(2)]
        if flag == "second":
            for stream in container.streams:
                stream.disposition = av.stream.Disposition(0)
            sounds[1].disposition = av.stream.Disposition.default
        picture = av.VideoFrame.from_ndarray(np.full((300, 400, 3), 128, np.uint8), "rgb24").reformat(format="yuvj420p")
        picture.pts, picture.time_base = 0, Fraction(1, 1)
        container.mux(cover.encode(picture))
        container.mux(cover.encode(None))
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(numbered(index), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(film.encode(frame))
        container.mux(film.encode(None))
        for sound, pitch in zip(sounds, (300, 1000), strict=True):
            wave = np.sin(2 * np.pi * pitch * np.arange(38400) / 48000).astype(np.float32)[None] / 2
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 48000, Fraction(1, 48000), 0
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
    return path


def pitch_of(path: Path) -> float:
    with av.open(str(path)) as container:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return float(np.argmax(np.abs(np.fft.rfft(wave))) * 48000 / len(wave))


@pytest.mark.parametrize("cover_first", [True, False])
def test_the_film_is_read_and_not_its_cover(tmp_path: Path, cover_first: bool) -> None:
    path = write_streams(tmp_path / "a.mkv", cover_first=cover_first)
    reader = VideoReader(path)
    assert (reader.width, reader.height) == (64, 48)
    assert [number_in(frame.image) for frame in reader] == list(range(20))
    assert number_in(read_frames(path, [7])[0]) == 7
    film, cover = (2, 1) if cover_first else (1, 2)
    assert f"holds 2 pictures ({cover}: mjpeg 400x300" in reader.notes[0] or cover == 2
    assert (
        f"{film}: h264 64x48" in reader.notes[0] and f"{film} is used, --video_stream takes another" in reader.notes[0]
    )
    assert VideoReader(path, video_stream=cover).width == 400
    with pytest.raises(InputError, match=r"--video_stream 3: there is no such video stream; there are 1: .*; 2: "):
        VideoReader(path, video_stream=3)


@pytest.mark.parametrize("flag, options, heard", [
    (None, {}, 300), ("second", {}, 1000), ("second", {"audio_stream": 1}, 300), (None, {"audio_stream": 2}, 1000)
])  # fmt: skip
def test_the_sound_flagged_as_default_goes_along(tmp_path: Path, flag: str | None, options: dict, heard: int) -> None:
    path = write_streams(tmp_path / "a.mkv", cover_first=False, flag=flag)
    reader = VideoReader(path, **options)
    assert "holds 2 sounds (1: aac 1 channels" in reader.notes[1]
    with VideoWriter(tmp_path / "r.mp4", audio_from=reader) as writer:
        for frame in reader:
            writer.write(frame.image, frame.time)
    assert pitch_of(tmp_path / "r.mp4") == pytest.approx(heard, abs=5)
    with pytest.raises(InputError, match="--audio_stream 3: there is no such audio stream"):
        VideoReader(path, audio_stream=3)


def test_one_picture_and_one_sound_need_no_word() -> None:
    assert VideoReader(SPEAKER).notes == []


# ----------------------------------------------------------------------------------------------------------- interlaced


def write_interlaced(path: Path, count: int = 12) -> list[np.ndarray]:
    """A disc that goes right, 4 pixels for each half picture; returns the whole pictures of the first half pictures."""

    def disc(step: int) -> np.ndarray:
        image = np.full((96, 160, 3), 60, np.uint8)
        cv2.circle(image, (30 + 4 * step, 48), 20, (220, 200, 180), -1, cv2.LINE_AA)
        return image

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "interlaced=1", "crf": "8"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        stream.codec_context.gop_size = 4
        for index in range(count):
            woven = disc(2 * index)
            woven[::2] = disc(2 * index + 1)[::2]  # the odd lines come first: so the encoder marks it
            frame = av.VideoFrame.from_ndarray(woven, "rgb24").reformat(format="yuv420p", interpolation="POINT")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return [disc(2 * index) for index in range(count)]


def combs(image: np.ndarray) -> float:
    """How much lines differ from those beside them more than from the next ones."""
    rows = image[..., 1].astype(int)
    return float(np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) / 2).mean())


def test_interlaced_video_has_no_combs_however_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    truth = write_interlaced(path)
    reader = VideoReader(path)
    lazy = list(reader.lazy_frames())
    seen = [frame.image for frame in lazy]
    assert [frame.time for frame in lazy] == [Fraction(index, 25) for index in range(12)]
    for image, wanted in list(zip(seen, truth, strict=True))[1:]:
        assert combs(image) < combs(wanted) + 0.7 and difference(image, wanted) < 3
    box = 20, 10, 120, 80
    assert np.array_equal(lazy[5].region(box), seen[5][10:80, 20:120])
    assert np.array_equal(read_frames(path, [11, 4, 5]), np.stack([seen[11], seen[4], seen[5]]))
    late = list(reader.lazy_frames(since=Fraction(6, 25)))
    assert np.array_equal(late[-1].image, seen[-1])
    assert all(np.array_equal(f.image, seen[round(f.time * 25)]) for f in late)
