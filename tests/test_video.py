"""Frames in and out: exact times, orientation, sound in sync, damaged input, whole files or none."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_videos import audio_codec, beeps_in, make_clip, number_in, numbered, steady, tone
from PIL import Image

from fomm.errors import InputError
from fomm.video import (
    DIGITAL_SOURCE_TYPE,
    SYNTHETIC,
    SYNTHETIC_COMPOSITE,
    VideoReader,
    VideoWriter,
    frame_files,
    picture_size,
    prefetch,
    read_frames,
    read_image,
    write_image,
)

ROOT = Path(__file__).resolve().parent.parent


def copy_video(source: Path, target: Path, start: int = 0, stop: int | None = None, **options) -> VideoWriter:
    reader = VideoReader(source)
    with VideoWriter(target, audio_from=source, time_base=reader.time_base, **options) as writer:
        for frame in reader.frames(start, stop):
            writer.write(frame.image, frame.time)
    return writer


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# ----------------------------------------------------------------------------------------------------------- pictures


def test_read_image_kinds(tmp_path):
    colour = np.zeros((4, 6, 3), np.uint8)
    colour[:, :3] = (200, 40, 10)
    colour[:2] += 20

    Image.fromarray(colour).save(tmp_path / "rgb.png")
    assert np.array_equal(read_image(tmp_path / "rgb.png"), colour)

    grey = colour[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, 2))

    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert np.array_equal(read_image(tmp_path / "deep.png"), np.repeat(grey[..., None], 3, 2))

    alpha = np.dstack([colour, np.full((4, 6), 255, np.uint8)])
    alpha[0, 0, 3], alpha[1, 1, 3] = 0, 51
    Image.fromarray(alpha).save(tmp_path / "alpha.png")
    seen = read_image(tmp_path / "alpha.png")
    assert seen[0, 0].tolist() == [255, 255, 255] and np.array_equal(seen[2:], colour[2:])
    assert np.abs(seen[1, 1] - (255 * 0.8 + colour[1, 1] * 0.2)).max() <= 1

    Image.fromarray(colour).convert("P").save(tmp_path / "palette.gif")
    assert read_image(tmp_path / "palette.gif").shape == (4, 6, 3)
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "cmyk.jpg")
    assert np.abs(read_image(tmp_path / "cmyk.jpg").astype(int).mean() - colour.mean()) < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    upright = np.kron(np.array([[0, 60, 120], [180, 220, 255]], np.uint8), np.ones((16, 16), np.uint8))
    undo = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.T,
        6: lambda a: np.rot90(a, 1), 7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undo[orientation](upright))).save(tmp_path / "p.jpg", exif=exif, quality=95)
    assert np.abs(read_image(tmp_path / "p.jpg")[..., 0].astype(int) - upright).max() < 12
    assert (VideoReader(tmp_path / "p.jpg").width, VideoReader(tmp_path / "p.jpg").height) == (48, 32)


@pytest.mark.parametrize("name", ["p.jpg", "p.png"])
def test_a_picture_that_is_read_smaller_is_the_same_picture(tmp_path, name):
    """A JPEG by way of its own smaller sizes."""
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = np.add.outer(np.linspace(0, 120, 900), np.linspace(0, 120, 1300))
    Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], 2).astype(np.uint8)).save(tmp_path / name, exif=exif)
    whole, some = read_image(tmp_path / name), read_image(tmp_path / name, max_pixels=100_000)
    assert whole.shape == (1300, 900, 3) and some.shape == (380, 263, 3)
    smaller = cv2.resize(whole, (263, 380), interpolation=cv2.INTER_AREA)
    assert np.abs(some.astype(int) - smaller).max() <= 3
    np.testing.assert_array_equal(read_image(tmp_path / name, max_pixels=whole.size // 3), whole)
    assert picture_size(tmp_path / name) == (1300, 900)


def test_large_frames_take_no_more_memory_than_many_small_ones(tmp_path):
    """x264 writes its options into the file."""
    for side, frames in ((64, b"40"), (4000, b"20")):
        with VideoWriter(tmp_path / "a.mp4") as writer:
            writer.write(np.zeros((side, side, 3), np.uint8))
        assert b"rc_lookahead=" + frames + b" " in (tmp_path / "a.mp4").read_bytes()


def test_damaged_exif_does_not_hide_the_picture_and_damaged_pictures_say_so(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "title"
    Image.fromarray(numbered(3)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole.replace(b"\x01\x0e\x00\x02", b"\x01\x00\x00\x02"))  # text as width
    (tmp_path / "c.jpg").write_bytes(whole.replace(b"\x01\x12\x00\x03", b"\x01\x12\x00\xff"))  # unknown type
    assert read_image(tmp_path / "b.jpg").shape == read_image(tmp_path / "a.jpg").shape == (64, 48, 3)
    assert number_in(read_image(tmp_path / "c.jpg")) == 3
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path / "cut.jpg")


def test_any_damage_to_a_file_is_survived_or_one_clear_line(tmp_path):
    """Random bytes replaced: Pillow and FFmpeg raise errors of many kinds on such files."""
    pictures = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (24, 32, 3), np.uint8)) for i in range(3)]
    for name in ("a.gif", "a.png", "a.webp"):
        pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:], duration=40)
    make_clip(tmp_path / "a.mp4", steady(5), sound=("aac", Fraction(0), 0.2))
    make_clip(tmp_path / "a.mov", steady(5), codec="qtrle", pix_fmt="rgb24")
    rng = np.random.default_rng(4)
    for name in ("a.gif", "a.png", "a.webp", "a.mp4", "a.mov"):
        whole = np.fromfile(tmp_path / name, np.uint8)
        damaged = tmp_path / f"damaged_{name}"
        for _ in range(40):
            content = whole.copy()
            content[rng.integers(0, min(len(content), rng.choice([64, 512, 10**6])), 4)] = rng.integers(0, 256, 4)
            content.tofile(damaged)
            for work in (lambda path: list(VideoReader(path)), lambda path: read_frames(path, [0, 2])):
                try:
                    work(damaged)
                except InputError as error:
                    assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_write_image_keeps_pixels_and_says_what_it_is(tmp_path, name):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    write_image(tmp_path / name, image, {DIGITAL_SOURCE_TYPE: SYNTHETIC_COMPOSITE, "comment": "a < b & c"})
    if name.endswith("png"):
        assert np.array_equal(read_image(tmp_path / name), image)
    with Image.open(tmp_path / name) as picture:
        packet = picture.info.get("xmp") or picture.info["XML:com.adobe.xmp"]
    packet = packet.decode() if isinstance(packet, bytes) else packet
    assert f"<Iptc4xmpExt:DigitalSourceType>{SYNTHETIC_COMPOSITE}</Iptc4xmpExt:DigitalSourceType>" in packet
    assert "a &lt; b &amp; c" in packet
    assert leftovers(tmp_path) == [name]


def test_write_image_errors(tmp_path):
    with pytest.raises(InputError, match="bmp"):
        write_image(tmp_path / "a.bmp", np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        write_image(tmp_path / "a.png", np.zeros((2, 2, 3)))
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        write_image(tmp_path / "file" / "a.png", np.zeros((2, 2, 3), np.uint8))


# ------------------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    "name, codec, fps, clock",
    [
        ("a.mp4", "libx264", Fraction(30000, 1001), Fraction(1, 30000)),
        ("a.mov", "libx264", Fraction(25), Fraction(1, 12800)),
        ("a.mkv", "libx264", Fraction(25), Fraction(1, 1000)),
        ("a.webm", "libvpx", Fraction(20), Fraction(1, 1000)),
        ("a.avi", "mpeg4", Fraction(30), Fraction(1, 30)),
        ("a.ts", "libx264", Fraction(30), Fraction(1, 90000)),
    ],
)
def test_reads_containers_with_exact_times(tmp_path, name, codec, fps, clock):
    path = make_clip(tmp_path / name, steady(40, fps), codec=codec, clock=clock)
    with VideoReader(path) as reader:
        assert (reader.width, reader.height, reader.has_audio) == (64, 48, False)
        for _ in range(2):  # may be read again
            frames = list(reader)
            assert [number_in(frame.image) for frame in frames] == list(range(40))
            assert [frame.time for frame in frames] == steady(40, fps)
            assert not reader.warnings
    assert [frame.time for frame in reader.frames(5, 20, 7)] == [5 / fps, 12 / fps, 19 / fps]
    if name != "a.webm":
        assert abs(reader.fps - fps) < fps / 50


def test_joined_pieces_keep_time_rising(tmp_path):
    piece = make_clip(tmp_path / "piece.ts", steady(20)).read_bytes()
    (tmp_path / "joined.ts").write_bytes(piece + piece)
    frames = list(VideoReader(tmp_path / "joined.ts"))
    assert [number_in(f.image) for f in frames] == [*range(20), *range(20)]
    assert all(b.time > a.time for a, b in zip(frames, frames[1:], strict=False))
    assert abs(frames[-1].time - Fraction(39, 30)) < Fraction(1, 10)


def test_size_that_changes_on_the_way(tmp_path):
    """Browser recorders do that when the camera turns or the connection slows: later frames take the first size."""
    parts = [
        make_clip(tmp_path / f"{w}.webm", steady(5, 20), size=(w, h), codec="libvpx", clock=Fraction(1, 1000))
        for w, h in ((64, 48), (96, 72))
    ]
    with av.open(str(parts[0])) as template, av.open(str(tmp_path / "both.webm"), "w") as out:
        stream = out.add_stream_from_template(template.streams.video[0], opaque=True)
        for number, part in enumerate(parts):
            with av.open(str(part)) as source:
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.pts = packet.dts = packet.pts + 250 * number
                        packet.stream = stream
                        out.mux(packet)
    frames = list(VideoReader(tmp_path / "both.webm"))
    assert [f.image.shape for f in frames] == [(48, 64, 3)] * 10
    assert [number_in(f.image) for f in frames] == [*range(5), *range(5)]


def test_clip_trimmed_by_an_edit_list(tmp_path):
    """Phones trim without encoding again: frames before the cut are stored, but not shown."""
    whole = make_clip(tmp_path / "whole.mp4", steady(48), clock=Fraction(1, 15360), options={"bf": "0"})
    with av.open(str(whole)) as source, av.open(str(tmp_path / "cut.mp4"), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts -= 16 * 512
                packet.dts -= 16 * 512
                packet.stream = stream
                out.mux(packet)
    frames = list(VideoReader(tmp_path / "cut.mp4"))
    assert [number_in(f.image) for f in frames] == list(range(16, 48))
    assert [f.time for f in frames] == steady(32)
    assert [number_in(f) for f in read_frames(tmp_path / "cut.mp4", [0, 31, 9])] == [16, 47, 25]


def test_variable_frame_rate(tmp_path):
    times = [Fraction(t, 600) for t in (0, 20, 37, 61, 200, 201, 260)]
    path = make_clip(tmp_path / "v.mp4", times, clock=Fraction(1, 600))
    assert [frame.time for frame in VideoReader(path)] == times


def test_video_that_starts_late_counts_from_its_first_frame(tmp_path):
    path = make_clip(tmp_path / "late.mkv", steady(10, 25), clock=Fraction(1, 1000), shift=Fraction(3))
    reader = VideoReader(path)
    assert [frame.time for frame in reader] == steady(10, 25) and reader.start_time == 3


def corner(index: int, width: int, height: int) -> np.ndarray:
    """Red in the top left corner, blue in the top right, on grey."""
    image = np.full((height, width, 3), 128, np.uint8)
    image[: height // 2, : width // 2] = (230, 20, 20)
    image[: height // 2, width // 2 :] = (20, 20, 230)
    return image


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
@pytest.mark.parametrize("hflip", [False, True])
def test_display_rotation_and_mirror(tmp_path, angle, hflip):
    path = make_clip(tmp_path / "r.mp4", steady(3), draw=corner, rotation=(angle, hflip, False))
    with av.open(str(path)) as container:  # as stored
        frame = next(container.decode(video=0))
        stored, matrix = frame.to_ndarray(format="rgb24"), None
        for side in frame.side_data.keys():
            if side.type.name == "DISPLAYMATRIX":
                matrix = np.frombuffer(bytes(side), np.int32)[[0, 1, 3, 4]] / 65536
    assert (matrix is None) == (angle == 0 and not hflip)
    shown = VideoReader(path)
    image = next(iter(shown)).image
    assert (shown.width, shown.height) == ((48, 64) if angle in (90, 270) else (64, 48))
    # Independent: send the centre of each stored quarter through the matrix and compare colours there.
    a, b, c, d = matrix if matrix is not None else (1, 0, 0, 1)
    for x, y in [(-1, -1), (1, -1), (-1, 1), (1, 1)]:
        to = round(a * x + c * y), round(b * x + d * y)
        pick = lambda array, at: array[  # noqa: E731
            array.shape[0] * (2 + at[1]) // 4, array.shape[1] * (2 + at[0]) // 4
        ].astype(int)
        assert np.abs(pick(stored, (x, y)) - pick(image, to)).max() < 12


def test_pixels_that_are_not_square(tmp_path):
    path = make_clip(tmp_path / "a.mp4", steady(5), size=(64, 60), aspect=Fraction(15, 16))
    reader = VideoReader(path)
    assert (reader.width, reader.height) == (60, 60)
    narrow = Fraction(1, 2)
    turned = make_clip(tmp_path / "b.mp4", steady(5), size=(64, 60), aspect=narrow, rotation=(90, False, False))
    assert next(iter(VideoReader(turned))).image.shape == (32, 60, 3)
    wide = make_clip(tmp_path / "c.mp4", steady(5), aspect=Fraction(4, 3))
    assert next(iter(VideoReader(wide))).image.shape == (48, 85, 3)


def test_ten_bit_hevc_odd_sizes_grey_and_alpha(tmp_path):
    quiet = {"x265-params": "log-level=none"}
    deep = make_clip(tmp_path / "d.mp4", steady(20), codec="libx265", pix_fmt="yuv420p10le", options=quiet)
    assert [number_in(frame.image) for frame in VideoReader(deep)] == list(range(20))
    odd = make_clip(tmp_path / "o.webm", steady(5), size=(63, 47), codec="libvpx-vp9", clock=Fraction(1, 1000))
    assert [frame.image.shape for frame in VideoReader(odd)] == [(47, 63, 3)] * 5
    grey = make_clip(tmp_path / "g.mp4", steady(5), pix_fmt="gray")
    assert [number_in(frame.image) for frame in VideoReader(grey)] == list(range(5))

    with av.open(str(tmp_path / "alpha.mov"), "w") as container:
        stream = container.add_stream("png", rate=10)
        stream.width = stream.height = 16
        stream.pix_fmt = "rgba"
        picture = np.zeros((16, 16, 4), np.uint8)
        picture[:8] = (255, 0, 0, 255)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgba")))
        container.mux(stream.encode(None))
    image = next(iter(VideoReader(tmp_path / "alpha.mov"))).image
    assert image[0, 0].tolist() == [255, 0, 0] and image[15, 0].tolist() == [255, 255, 255]


def test_gif_with_its_own_delays_and_animated_webp(tmp_path):
    pictures = [Image.fromarray(numbered(i)) for i in range(4)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[50, 120, 40, 70])
    frames = list(VideoReader(tmp_path / "a.gif"))
    assert [number_in(f.image) for f in frames] == [0, 1, 2, 3]
    assert [f.time for f in frames] == [0, Fraction(1, 20), Fraction(17, 100), Fraction(21, 100)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], duration=40)
    assert [f.time for f in VideoReader(tmp_path / "a.webp")] == steady(4, 25)


def test_folder_of_frames_in_natural_order(tmp_path):
    for index in (10, 9, 2, 1):
        write_image(tmp_path / f"frame{index}.png", numbered(index))
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / ".hidden.png").write_text("not a frame")
    reader = VideoReader(tmp_path, fps=10)
    assert [number_in(f.image) for f in reader] == [1, 2, 9, 10] and reader.frame_count == 4
    assert [f.time for f in reader] == steady(4, 10)
    write_image(tmp_path / "frame3.png", numbered(3, 32, 32))
    with pytest.raises(InputError, match="frame3.png: is 32x32"):
        list(reader.__class__(tmp_path))


def test_order_of_unusual_names(tmp_path):
    for name in ("2.png", "1.png", "01.png", "1\u00b22.png", 'it\'s "\u00fc".png'):  # a raised 2 is no number
        write_image(tmp_path / name, numbered(0))
    assert [f.name for f in frame_files(tmp_path)] == [
        "01.png", "1.png", "1\u00b22.png", "2.png", "it's \"\u00fc\".png"
    ]  # fmt: skip
    with pytest.raises(InputError, match="cannot be read"):
        frame_files(tmp_path / "missing")


def test_times_that_no_container_clock_holds(tmp_path):
    """Thirds of seconds written as long decimals, and animations whose delays are not whole milliseconds."""
    pictures = [Image.fromarray(numbered(i)) for i in range(4)]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], duration=1000 / 30)
    assert [f.time for f in VideoReader(tmp_path / "a.png")] == steady(4)
    copy_video(tmp_path / "a.png", tmp_path / "frames")
    (tmp_path / "frames" / "times.txt").write_text("0\n0.333333333333333333\n0.666666666666666666\n1\n")
    for source in ("a.png", "frames"):
        reader = VideoReader(tmp_path / source)
        writer = copy_video(tmp_path / source, tmp_path / "b.mp4", fps=reader.fps)
        read = [f.time for f in VideoReader(tmp_path / "b.mp4")]
        assert not writer.warnings
        assert max(abs(a - f.time) for a, f in zip(read, reader, strict=True)) < Fraction(1, 10**6)


def test_single_picture_is_one_frame(tmp_path):
    write_image(tmp_path / "p.png", numbered(5))
    reader = VideoReader(tmp_path / "p.png")
    assert [(number_in(f.image), f.time) for f in reader] == [(5, 0)] and reader.frame_count == 1


def test_tiny_and_very_wide_pictures(tmp_path):
    for width, height in [(3, 3), (20000, 10), (1, 1)]:
        write_image(tmp_path / "p.png", np.zeros((height, width, 3), np.uint8))
        reader = VideoReader(tmp_path / "p.png")
        assert (reader.width, reader.height) == (width, height)


def test_truncated_file_gives_what_it_has_and_says_so(tmp_path):
    noise = np.random.default_rng(0)
    with VideoWriter(tmp_path / "whole.mp4", fps=30) as writer:
        for _ in range(60):
            writer.write(noise.integers(0, 256, (48, 64, 3), np.uint8))
    whole = (tmp_path / "whole.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) * 6 // 10])
    reader = VideoReader(cut)
    count = sum(1 for _ in reader)
    assert 20 < count < 45
    assert len(reader.warnings) == 1 and f"{count} of 60 frames" in reader.warnings[0]

    pictures = [Image.fromarray(noise.integers(0, 256, (40, 40, 3), np.uint8)) for _ in range(6)]
    pictures[0].save(tmp_path / "whole.gif", save_all=True, append_images=pictures[1:], duration=50)
    whole = (tmp_path / "whole.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(whole[: len(whole) * 6 // 10])
    reader = VideoReader(tmp_path / "cut.gif")
    assert 1 <= sum(1 for _ in reader) < 6 and len(reader.warnings) == 1


def test_sound_longer_than_the_picture_is_not_taken_for_damage(tmp_path):
    path = make_clip(tmp_path / "a.mkv", steady(15), clock=Fraction(1, 1000), sound=("aac", Fraction(0), 4.0))
    reader = VideoReader(path)
    assert sum(1 for _ in reader) == 15 and not reader.warnings


def test_late_start_and_longer_subtitles_are_not_taken_for_damage(tmp_path):
    late = make_clip(tmp_path / "late.mkv", steady(15), clock=Fraction(1, 1000), shift=Fraction(3))
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nOne\n\n2\n00:00:20,000 --> 00:00:30,000\nTwo\n")
    with (
        av.open(str(late)) as video,
        av.open(str(tmp_path / "a.srt")) as text,
        av.open(str(tmp_path / "subtitles.mkv"), "w") as out,
    ):
        pairs = [(s, out.add_stream_from_template(s)) for s in (video.streams.video[0], text.streams.subtitles[0])]
        for source, target in pairs:
            for packet in source.container.demux(source):
                if packet.size:
                    packet.stream = target
                    out.mux(packet)
    for name in ("late.mkv", "subtitles.mkv"):
        reader = VideoReader(tmp_path / name)
        assert sum(1 for _ in reader) == 15 and not reader.warnings


def bad_inputs(folder: Path) -> dict[str, str]:
    """Name -> what the message must say."""
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("This is a text file.\n" * 100)
    (folder / "page.mp4").write_text("<!DOCTYPE html><html><body>404</body></html>")
    (folder / "zeros.mp4").write_bytes(bytes(4096))
    (folder / "no_pictures").mkdir()
    clip = make_clip(folder / "clip.mp4", steady(5))
    (folder / "list.txt").write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    (folder / "list.mp4").write_text(f"ffconcat version 1.0\nfile '{clip}'\n")
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n")
    (folder / "frames.ffmeta.mp4").write_text(";FFMETADATA1\ntitle=x\n")
    (folder / "no_index.mp4").write_bytes(clip.read_bytes()[:600])
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(Fraction(0), 1, 48000)[None], format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame) + stream.encode(None))
    with av.open(str(folder / "no_frames.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height = 64, 48
        container.start_encoding()
    (folder / "codec.mp4").write_bytes(clip.read_bytes().replace(b"avc1", b"abcd"))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"junk" * 20)
    return {
        "empty.mp4": "empty",
        "text.mp4": "looks like text",
        "page.mp4": "web page",
        "zeros.mp4": "cannot be read as a video",
        "no_pictures": "holds no pictures",
        "list.txt": "not a playlist",
        "list.mp4": "not a playlist",
        "list.m3u8": "not a playlist",
        "frames.ffmeta.mp4": "not a playlist",
        "no_index.mp4": "cannot be read as a video",
        "sound.mp4": "only sound",
        "no_frames.mp4": "no",
        "codec.mp4": "does not know",
        "broken.jpg": "broken.jpg",
        "x" * 300: "File name too long",
        "missing.mp4": "no such file",
    }


@pytest.mark.parametrize(
    "head, says",
    [
        (b"\0\0\0\x24ftypheic", "HEIF"),
        (b"\0\0\0\x20ftypisom", "begins like a video"),
        (b"\x1aE\xdf\xa3\x01", "begins like a video"),
    ],
)
def test_a_file_that_is_no_picture_is_named(tmp_path, head, says):
    (tmp_path / "photo.jpg").write_bytes(head + bytes(100))
    with pytest.raises(InputError, match=f"cannot be read as a picture .*{says}"):
        read_image(tmp_path / "photo.jpg")


def test_a_large_picture_is_read_without_a_word(tmp_path):
    """Pillow would warn of a "decompression bomb" from 90 million pixels on; phones take more."""
    write_image(tmp_path / "a.png", np.zeros((10, 15, 3), np.uint8))
    code = "from PIL import Image; from fomm import video; Image.MAX_IMAGE_PIXELS = 100; video.read_image('a.png')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".webm", ".gif"])
def test_equal_calls_write_equal_bytes(tmp_path, suffix):
    make_clip(tmp_path / "s.mp4", steady(5), size=(64, 64), sound=("aac", Fraction(0), Fraction(1, 5)))
    for name in ("a", "b"):
        with VideoWriter(tmp_path / f"{name}{suffix}", audio_from=tmp_path / "s.mp4") as writer:
            for frame in VideoReader(tmp_path / "s.mp4"):
                writer.write(frame.image, frame.time)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


def test_an_output_that_cannot_be_opened_is_not_blamed_on_the_frames():
    with pytest.raises(InputError, match="cannot be written .*; free some space or choose another place"):
        with VideoWriter("/proc/a.mp4") as writer:
            writer.write(np.zeros((16, 16, 3), np.uint8))


def test_bad_input_is_one_clear_line(tmp_path):
    for name, words in bad_inputs(tmp_path).items():
        with pytest.raises(InputError) as caught:
            VideoReader(tmp_path / name)
        message = str(caught.value)
        assert words in message and name in message and "\n" not in message, message
    for name in ("http://127.0.0.1:9/a.mp4", "concat:a.mp4|b.mp4", "pipe:0", "file:clip.mp4", "data:video/mp4,xx"):
        with pytest.raises(InputError, match="only local files"):
            VideoReader(name)
        with pytest.raises(InputError, match="only local files"):
            read_image(name)
    with pytest.raises(InputError, match="not a regular file"):
        VideoReader("/dev/zero")
    with pytest.raises(InputError, match="as a picture .it is a web page"):
        read_image(tmp_path / "page.mp4")


# ------------------------------------------------------------------------------------------------------- random access


@pytest.mark.parametrize(
    "name, options",
    [
        ("a.mp4", {}),
        ("gop3.mp4", {"gop": 3}),
        ("long.mp4", {"gop": 250}),
        ("a.webm", {"codec": "libvpx", "clock": Fraction(1, 1000)}),
        ("hevc.mp4", {"codec": "libx265", "options": {"x265-params": "log-level=none:open-gop=1"}}),
        ("a.ts", {}),
        ("a.avi", {"codec": "mpeg4", "clock": Fraction(1, 30)}),
        ("a.h264", {}),
    ],
)
def test_read_frames_agrees_with_full_decoding(tmp_path, name, options):
    path = make_clip(tmp_path / name, steady(50), **options)
    everything = np.stack([frame.image for frame in VideoReader(path)])
    assert len(everything) == 50
    for indices in ([0], [49], [7, 31], [31, 7, 7, 48], list(range(0, 50, 9)), [13, 14, 15]):
        assert np.array_equal(read_frames(path, indices), everything[indices])
    for bad in ([50], [-1]):
        with pytest.raises(InputError, match="asked for"):
            read_frames(path, bad)


def test_a_later_picture_of_a_gif_that_reaches_beyond_the_first_is_cut(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (3, 48, 64), np.uint8)
    first, *more = map(Image.fromarray, noise)
    first.save(tmp_path / "a.gif", save_all=True, append_images=more, duration=50)
    content = bytearray((tmp_path / "a.gif").read_bytes())
    content[content.rindex(b"\x2c" + bytes(4) + b"\x40\0\x30\0") + 1] = 20  # the last one's left edge
    (tmp_path / "a.gif").write_bytes(content)
    frames = [frame.image[..., 0] for frame in VideoReader(tmp_path / "a.gif")]
    np.testing.assert_array_equal(frames[:2], noise[:2])
    np.testing.assert_array_equal(frames[2], np.hstack([noise[1, :, :20], noise[2, :, :44]]))


def test_read_frames_variable_rate_gif_and_folder(tmp_path):
    times = [Fraction(t, 600) for t in np.cumsum(np.random.default_rng(1).integers(3, 60, 40)).tolist()]
    path = make_clip(tmp_path / "v.mp4", times, clock=Fraction(1, 600))
    everything = np.stack([frame.image for frame in VideoReader(path)])
    assert np.array_equal(read_frames(path, [3, 39, 20]), everything[[3, 39, 20]])
    for name in ("f", "f.gif"):
        with VideoWriter(tmp_path / name, fps=10) as writer:
            for index in range(12):
                writer.write(numbered(index))
        assert [number_in(image) for image in read_frames(tmp_path / name, [11, 0, 5])] == [11, 0, 5]


def test_read_frames_decodes_only_what_it_needs(tmp_path):
    path = make_clip(tmp_path / "a.mp4", steady(240), size=(320, 240), gop=8)
    read_frames(path, [0])  # the table of frames is read once

    def cost(work) -> float:
        start = time.process_time()
        work()
        return time.process_time() - start

    few = min(cost(lambda: read_frames(path, [100, 230])) for _ in range(3))
    assert few < 0.3 * cost(lambda: list(VideoReader(path)))


# ------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.webm", "a.gif", "frames"])
def test_round_trip(tmp_path, name):
    with VideoWriter(tmp_path / name, fps=25) as writer:
        for index in range(30):
            writer.write(numbered(index))
    frames = list(VideoReader(tmp_path / name))
    assert [number_in(frame.image) for frame in frames] == list(range(30))
    assert [frame.time for frame in frames] == steady(30, 25)
    assert leftovers(tmp_path) == [name]


@pytest.mark.parametrize("clock", [None, Fraction(1, 600)])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "frames"])
def test_uneven_times_are_kept_exactly(tmp_path, name, clock):
    times = [Fraction(5) + Fraction(t, 600) for t in (0, 20, 37, 61, 200, 203, 260)]
    with VideoWriter(tmp_path / name, time_base=clock) as writer:
        for index, moment in enumerate(times):
            writer.write(numbered(index), moment)
    reader = VideoReader(tmp_path / name)
    assert [frame.time for frame in reader] == [moment - 5 for moment in times]
    assert reader.start_time == 0


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), Fraction(24000, 1001), Fraction(7), Fraction(1, 3)])
def test_any_rate_is_kept_exactly(tmp_path, fps):
    with VideoWriter(tmp_path / "a.mp4", fps=fps) as writer:
        for index in range(12):
            writer.write(numbered(index))
    reader = VideoReader(tmp_path / "a.mp4")
    assert [frame.time for frame in reader] == steady(12, fps)
    assert reader.fps == fps and reader.duration == 12 / fps  # the last frame lasts as long as the others


def test_webm_and_gif_round_without_drift(tmp_path):
    times = steady(50, Fraction(30000, 1001))
    for name, tick in (("a.webm", Fraction(1, 1000)), ("a.gif", Fraction(1, 100))):
        with VideoWriter(tmp_path / name) as writer:
            for index, moment in enumerate(times):
                writer.write(numbered(index), moment)
        read = [frame.time for frame in VideoReader(tmp_path / name)]
        assert len(read) == 50 and max(abs(a - b) for a, b in zip(read, times, strict=True)) <= tick / 2


def test_gif_leaves_out_frames_that_browsers_would_slow_down(tmp_path):
    with VideoWriter(tmp_path / "a.gif", fps=100) as writer:
        for index in range(20):
            writer.write(numbered(index))
    assert [number_in(f.image) for f in VideoReader(tmp_path / "a.gif")] == list(range(0, 20, 2))


def test_colours_survive(tmp_path):
    """Also: H.264 says BT.709, limited range, as its numbers are."""
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 150, 100)]
    image = np.concatenate([np.full((48, 32, 3), colour, np.uint8) for colour in colours], axis=1)
    for name in ("a.mp4", "a.webm", "a.gif"):
        with VideoWriter(tmp_path / name) as writer:
            for _ in range(3):
                writer.write(image)
        read = next(iter(VideoReader(tmp_path / name))).image
        assert np.abs(read[24, 16::32].astype(int) - np.array(colours)).max() <= 5, name
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert context.pix_fmt == "yuv420p"
    content = (tmp_path / "a.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # plays while it loads


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "f"])
@pytest.mark.parametrize("size", [(3, 3), (1, 1), (63, 47)])
def test_odd_and_tiny_sizes(tmp_path, name, size):
    image = np.full((size[1], size[0], 3), 90, np.uint8)
    image[:, -1] = 250
    with VideoWriter(tmp_path / name) as writer:
        for _ in range(3):
            writer.write(image)
    read = [frame.image for frame in VideoReader(tmp_path / name)]
    even = name == "a.mp4"
    shape = tuple(side + side % 2 if even else side for side in (size[1], size[0]))
    assert [image.shape[:2] for image in read] == [shape] * 3
    assert read[0][0, -1].min() > 200  # the padding repeats the border


def test_sizes_that_a_format_cannot_hold(tmp_path):
    with pytest.raises(InputError, match="20000x10"):
        with VideoWriter(tmp_path / "a.mp4") as writer:
            writer.write(np.zeros((10, 20000, 3), np.uint8))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["a:b.mp4", "a:b.gif", 'it\'s "\u00fc" 100%d.webm', "-a b.mov", "a:b"])
def test_names_that_look_like_something_else(tmp_path, monkeypatch, name):
    """FFmpeg takes what stands before a colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    with VideoWriter(name) as writer:
        for index in range(3):
            writer.write(numbered(index)[:, ::-1])  # not contiguous
    assert len(list(VideoReader(name))) == 3 and leftovers(tmp_path) == [name]


def test_single_picture_output(tmp_path):
    with VideoWriter(tmp_path / "a.png") as writer:
        writer.write(numbered(3))
    assert number_in(read_image(tmp_path / "a.png")) == 3
    with pytest.raises(InputError, match="folder name"):
        with VideoWriter(tmp_path / "b.png") as writer:
            writer.write(numbered(3))
            writer.write(numbered(4))
    assert leftovers(tmp_path) == ["a.png"]


def test_metadata(tmp_path):
    metadata = {"title": "A title", "comment": "made & marked", DIGITAL_SOURCE_TYPE: SYNTHETIC}
    for name in ("a.mp4", "a.mov", "a.webm"):
        with VideoWriter(tmp_path / name, metadata=metadata) as writer:
            for index in range(3):
                writer.write(numbered(index))
        with av.open(str(tmp_path / name)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
        assert {key.lower(): value for key, value in metadata.items()}.items() <= tags.items()
        assert len(list(VideoReader(tmp_path / name))) == 3
    assert b"<Iptc4xmpExt:DigitalSourceType>" + SYNTHETIC.encode() in (tmp_path / "a.mp4").read_bytes()
    for name in ("a.gif", "frames"):
        with VideoWriter(tmp_path / name, metadata=metadata) as writer:
            for index in range(3):
                writer.write(numbered(index))
    with Image.open(tmp_path / "a.gif") as picture:
        assert SYNTHETIC in picture.info["comment"].decode()
        assert picture.n_frames == 3
    assert b"XMP DataXMP<?xpacket" in (tmp_path / "a.gif").read_bytes()
    for file in (tmp_path / "frames").glob("*.png"):
        with Image.open(file) as picture:
            assert picture.info[DIGITAL_SOURCE_TYPE] == SYNTHETIC and SYNTHETIC in picture.info["XML:com.adobe.xmp"]


def test_writer_errors(tmp_path):
    for name, words in [("a.xyz", "xyz"), ("a.mkv", "mkv")]:
        with pytest.raises(InputError, match=words):
            VideoWriter(tmp_path / name)
    with pytest.raises(InputError, match="no frame"):
        with VideoWriter(tmp_path / "a.mp4"):
            pass
    with VideoWriter(tmp_path / "ok.mp4") as writer:
        writer.write(numbered(0), Fraction(1))
        with pytest.raises(ValueError, match="does not follow"):
            writer.write(numbered(1), Fraction(1))
        with pytest.raises(ValueError, match="shape"):
            writer.write(numbered(1, 32, 32), Fraction(2))
        with pytest.raises(ValueError, match="uint8"):
            writer.write(numbered(1).astype(float), Fraction(2))
    with pytest.raises(ValueError, match="outside"):
        writer.write(numbered(1), Fraction(3))
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written"):
        with VideoWriter(tmp_path / "file" / "a.mp4") as writer:
            writer.write(numbered(0))
    with pytest.raises(InputError, match="too long"):
        with VideoWriter(tmp_path / f"{'x' * 300}.mp4") as writer:
            writer.write(numbered(0))
    with pytest.raises(InputError, match="is a file"):
        VideoWriter(tmp_path / "file")
    (tmp_path / "dir.mp4").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        VideoWriter(tmp_path / "dir.mp4")


def test_frames_never_replace_a_folder_of_something_else(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_text("precious")
    with pytest.raises(InputError, match="holiday.jpg"):
        VideoWriter(tmp_path / "photos")
    for count in (5, 3):  # but an older folder of frames is replaced as a whole
        with VideoWriter(tmp_path / "frames") as writer:
            for index in range(count):
                writer.write(numbered(index))
    assert len(list(VideoReader(tmp_path / "frames"))) == 3


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.png", "frames"])
def test_nothing_is_left_after_an_exception(tmp_path, name, error):
    with pytest.raises(error):
        with VideoWriter(tmp_path / name) as writer:
            writer.write(numbered(0))
            if name != "a.png":
                writer.write(numbered(1))
                writer.write(numbered(2))
            raise error
    assert leftovers(tmp_path) == []


def test_an_older_result_survives_a_failure(tmp_path):
    (tmp_path / "a.mp4").write_text("older")
    with pytest.raises(RuntimeError):
        with VideoWriter(tmp_path / "a.mp4") as writer:
            writer.write(numbered(0))
            raise RuntimeError
    assert (tmp_path / "a.mp4").read_text() == "older" and leftovers(tmp_path) == ["a.mp4"]


FULL_DISK = """
import resource, sys
import numpy as np
from fomm.errors import InputError
from fomm.video import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
noise = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1]) as writer:
        for _ in range(int(sys.argv[3])):
            writer.write(noise.integers(0, 256, (96, 96, 3), np.uint8))
except InputError as error:
    print(error)
    sys.exit(2)
"""


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.png", "frames"])
def test_full_disk(tmp_path, name):
    """A limit on the size of files stands in for a full disk: the system refuses to write past it."""
    frames = 1 if name == "a.png" else 40
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / name), "20000", str(frames)],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    assert "cannot be written" in run.stdout and name in run.stdout and len(run.stdout.splitlines()) == 1
    assert leftovers(tmp_path) == []


INTERRUPTED = """
import sys, time
import numpy as np
from fomm.errors import run
from fomm.video import VideoWriter
def main():
    with VideoWriter(sys.argv[1], fps=25) as writer:
        for index in range(10**6):
            writer.write(np.full((96, 96, 3), index % 256, np.uint8))
            if index == 5:
                print("go", flush=True)
run(main)
"""


@pytest.mark.parametrize("name", ["a.mp4", "a.gif", "frames"])
def test_ctrl_c(tmp_path, name):
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / name)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "go\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in errors
    assert leftovers(tmp_path) == []


# --------------------------------------------------------------------------------------------------------------- sound


@pytest.mark.parametrize(
    "source, codec, rate, target, expected",
    [
        ("s.mp4", "aac", 48000, "t.mp4", "aac"),
        ("s.mp4", "aac", 44100, "t.mov", "aac"),
        ("s.mkv", "aac", 44100, "t.mp4", "aac"),
        ("s.mp4", "aac", 44100, "t.webm", "opus"),
        ("s.webm", "libopus", 48000, "t.webm", "opus"),
        ("s.webm", "libopus", 48000, "t.mp4", "aac"),
        ("s.mov", "pcm_s16le", 22050, "t.mp4", "aac"),
    ],
)
def test_sound_stays_in_sync(tmp_path, source, codec, rate, target, expected):
    """29.97 frames a second; beeps at whole seconds, for the whole clip and for a range from its middle."""
    fps = Fraction(30000, 1001)
    video = "libvpx" if source.endswith("webm") else "libx264"
    clock = Fraction(1, 30000) if source[-3:] in ("mp4", "mov") else Fraction(1, 1000)
    path = make_clip(
        tmp_path / source, steady(100, fps), codec=video, clock=clock, sound=(codec, Fraction(0), 3.4), rate=rate
    )
    assert beeps_in(path) == pytest.approx([0, 1, 2, 3], abs=0.01)
    for start, stop in [(0, None), (20, 80)]:
        copy_video(path, tmp_path / target, start, stop)
        assert audio_codec(tmp_path / target) == expected
        begin = start / fps
        heard = [k - float(begin) for k in range(4) if begin <= k < (stop or 100) / fps]
        assert beeps_in(tmp_path / target) == pytest.approx(heard, abs=float(1 / fps) / 2)
        assert [f.time for f in VideoReader(tmp_path / target)] == pytest.approx(
            [float(t) for t in steady((stop or 100) - start, fps)], abs=0.0011
        )
        with av.open(str(tmp_path / target)) as container:  # no longer than the picture, but for one packet
            end = max(f.pts * f.time_base + Fraction(f.samples, f.sample_rate) for f in container.decode(audio=0))
        assert abs(float(end) - ((stop or 100) - start) / fps) < 0.07


@pytest.mark.parametrize("target", ["t.mp4", "t.webm"])
@pytest.mark.parametrize("sound_start", [Fraction(-1, 2), Fraction(7, 10)])
def test_sound_and_picture_that_do_not_start_together(tmp_path, target, sound_start):
    path = make_clip(
        tmp_path / "s.mkv", steady(75, 25), clock=Fraction(1, 1000), sound=("aac", sound_start, 2.2), shift=Fraction(1)
    )
    heard = [k for k in range(3) if sound_start <= k < sound_start + Fraction(22, 10)]
    assert beeps_in(path) == pytest.approx(heard, abs=0.01)
    copy_video(path, tmp_path / target)
    assert beeps_in(tmp_path / target) == pytest.approx(heard, abs=0.02)


@pytest.mark.parametrize("target", ["t.mp4", "t.webm"])
def test_sound_that_changes_its_kind_on_the_way(tmp_path, target):
    parts = [
        make_clip(tmp_path / f"{rate}.ts", steady(30), sound=("aac", Fraction(0), 1.0), rate=rate, shift=Fraction(at))
        for at, rate in enumerate((44100, 48000))
    ]
    (tmp_path / "s.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    copy_video(tmp_path / "s.ts", tmp_path / target)
    assert beeps_in(tmp_path / target) == pytest.approx([0, 1], abs=0.03)


def test_copied_sound_is_not_encoded_again(tmp_path):
    path = make_clip(tmp_path / "s.mp4", steady(60), sound=("aac", Fraction(0), 2.0))
    copy_video(path, tmp_path / "t.mp4")

    def packets(file: Path) -> list[bytes]:
        with av.open(str(file)) as container:
            return [bytes(packet) for packet in container.demux(audio=0) if packet.size]

    before, after = packets(path), packets(tmp_path / "t.mp4")
    assert len(after) >= len(before) - 2 and after == before[: len(after)]


def test_audio_start_and_new_times(tmp_path):
    """A driving clip played at its own speed from 1.2 s on, by frames that count from zero."""
    path = make_clip(tmp_path / "s.mp4", steady(90), sound=("aac", Fraction(0), 3.0))
    with VideoWriter(tmp_path / "t.mp4", fps=30, audio_from=path, audio_start=Fraction(12, 10)) as writer:
        for index in range(45):
            writer.write(numbered(index))
    assert beeps_in(tmp_path / "t.mp4") == pytest.approx([0.8], abs=0.02)


def test_clips_without_sound_and_formats_without_sound(tmp_path):
    silent = make_clip(tmp_path / "silent.mp4", steady(10))
    writer = copy_video(silent, tmp_path / "a.mp4")
    assert not VideoReader(tmp_path / "a.mp4").has_audio and not writer.warnings
    loud = make_clip(tmp_path / "loud.mp4", steady(10), sound=("aac", Fraction(0), 0.3))
    writer = copy_video(loud, tmp_path / "a.gif")
    assert len(writer.warnings) == 1 and "no sound" in writer.warnings[0]


# ---------------------------------------------------------------------------------------------- long videos and threads

LONG = """
import re, sys
from fomm.video import VideoReader, VideoWriter, prefetch
source, target, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
reader = VideoReader(source)
with VideoWriter(target, audio_from=source, time_base=reader.time_base) as writer:
    for frame in prefetch(reader.frames(stop=count), 4):
        writer.write(frame.image, frame.time)
# Not getrusage: its peak includes what the parent process held before it started this one.
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory from /proc")
def test_memory_does_not_grow_with_length(tmp_path):
    path = make_clip(tmp_path / "s.mp4", steady(1500), size=(160, 120), sound=("aac", Fraction(0), 50.0))

    def peak_kb(count: int) -> int:
        command = [sys.executable, "-c", LONG, str(path), str(tmp_path / "t.mp4"), str(count)]
        return int(subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout)

    short, long = peak_kb(150), peak_kb(1500)
    # 1350 more frames of 58 kB would be 78 MB if they were kept.
    assert long - short < 15_000, (short, long)


def test_prefetch_keeps_order_and_runs_ahead():
    seen = []

    def work():
        for index in range(20):
            seen.append(index)
            yield index

    stream = prefetch(work(), 3)
    assert next(stream) == 0
    deadline = time.time() + 5
    while len(seen) < 5 and time.time() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(seen) == 5  # one handed out, three waiting, one in hand
    assert list(stream) == list(range(1, 20))
    assert list(prefetch([], 2)) == []


def test_prefetch_carries_exceptions_and_stops_when_abandoned():
    closed = threading.Event()

    def work():
        try:
            yield 1
            yield 2
            raise InputError("broken")
        finally:
            closed.set()

    stream = prefetch(work(), 1)
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(InputError, match="broken"):
        next(stream)

    closed.clear()
    stream = prefetch((item for item in iter(work().__next__, None)), 1)
    next(stream)
    before = threading.active_count()
    stream.close()
    assert threading.active_count() == before - 1 and not any(t.name == "prefetch" for t in threading.enumerate())


def test_write_from_a_background_thread(tmp_path):
    path = make_clip(tmp_path / "s.mp4", steady(30))
    failure = []

    def work():
        try:
            copy_video(path, tmp_path / "t.mp4")
        except BaseException as error:  # noqa: B036
            failure.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failure and len(list(VideoReader(tmp_path / "t.mp4"))) == 30


# ---------------------------------------------------------------------------------------------------------- real media


@pytest.mark.parametrize(
    "name, size, count, fps",
    [
        ("drive_audio.mp4", (480, 480), 216, Fraction(30)),
        ("drive_phone_rotated.mp4", (540, 960), 120, Fraction(30)),
        ("drive_sar_odd.mp4", (480, 480), 180, Fraction(30)),
        ("drive_recorder_vfr.webm", (480, 480), 146, None),
        ("drive_hevc10.mp4", (478, 480), 90, Fraction(30000, 1001)),
    ],
)
def test_real_clips(media, name, size, count, fps):
    reader = VideoReader(media / name)
    assert (reader.width, reader.height) == size and reader.fps == fps
    times, shape = [], None
    for frame in reader.frames(every=1):
        times.append(frame.time)
        shape = frame.image.shape
    assert shape == (size[1], size[0], 3) and len(times) == count and not reader.warnings
    if fps:
        assert times == steady(count, fps)
    else:
        gaps = [b - a for a, b in zip(times, times[1:], strict=False)]
        assert min(gaps) == Fraction(26, 1000) and max(gaps) == Fraction(371, 1000)


def test_real_truncated_clip(media):
    reader = VideoReader(media / "drive_truncated.mp4")
    count = sum(1 for _ in reader)
    assert 97 <= count <= 119 and f"{count} of 216 frames" in reader.warnings[0]


@pytest.mark.parametrize("target", ["t.mp4", "t.webm"])
@pytest.mark.parametrize("name, gap", [("drive_recorder_vfr.webm", 0.026), ("drive_audio.mp4", 1 / 30)])
def test_real_beeps_against_frame_times(media, tmp_path, name, gap, target):
    """Beeps are at whole seconds of the clip; error at most one frame, whole and from frame 20 on."""
    times = [frame.time for frame in VideoReader(media / name).frames(stop=90)]
    for start in (0, 20):
        reader = VideoReader(media / name)
        with VideoWriter(tmp_path / target, audio_from=media / name, time_base=reader.time_base) as writer:
            for frame in reader.frames(start, 90):
                writer.write(frame.image[::8, ::8], frame.time)
        heard = [k - float(times[start]) for k in range(9) if times[start] <= k < times[-1]]
        found = beeps_in(tmp_path / target)
        assert len(found) >= len(heard) and found[: len(heard)] == pytest.approx(heard, abs=gap)
        written = [frame.time for frame in VideoReader(tmp_path / target)]
        assert written == [t - times[start] for t in times[start:]] or target == "t.webm"
