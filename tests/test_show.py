"""What is drawn is what inference uses: boxes, eyes, crops; and what is written is the driving crop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import ASTRONAUT, ROOT, picture

from fomm.errors import InputError
from fomm.video import VideoReader, read_image, write_image
from preprocess.faces import FaceFinder, face_crop
from preprocess.show import crop_video, draw_face, face
from preprocess.track import find_tracks

PORTRAIT, SPEAKER = ROOT / "fomm/assets/portrait.png", ROOT / "fomm/assets/speaker.mp4"


def test_a_drawing_shows_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    face(str(PORTRAIT), output=str(tmp_path / "face.png"))
    said = capsys.readouterr().out
    photo, drawing = read_image(PORTRAIT), read_image(tmp_path / "face.png")
    with FaceFinder() as finder:
        faces = finder.find(photo)
    chosen = faces[0]
    assert f"roll {chosen.roll_deg:+.1f} degrees" in said and "wrote" in said
    assert 15 < chosen.roll_deg < 25  # as it was drawn

    scale, margin = 1024 / photo.shape[1], 16  # the photo is shown 1024 wide, its pixels' edges scaled

    def colour_at(point: np.ndarray) -> list[int]:
        x, y = np.rint(scale * (np.asarray(point) + 0.5) - 0.5 + margin).astype(int)
        return drawing[y, x].astype(int).tolist()

    left, top, right, bottom = chosen.box_xyxy_px
    assert colour_at([(left + right) / 2, bottom]) == pytest.approx([255, 200, 0], abs=30)
    for eye in (chosen.eye_left_px, chosen.eye_right_px):
        assert colour_at(eye) == pytest.approx([255, 60, 90], abs=30)
    crop = face_crop(chosen)
    middle_of_its_top = crop.corners_px[:2].mean(0)
    assert colour_at(middle_of_its_top) == pytest.approx([60, 230, 110], abs=40)
    # the crop beside it is the crop itself
    shown = drawing[16 : 16 + 512, 1024 + 32 : 1024 + 32 + 512]
    assert np.abs(shown[1::2, 1::2].astype(int) - crop.apply(photo)).mean() < 4


def test_a_real_photo_is_drawn(tmp_path: Path) -> None:
    drawing = read_image(face(str(picture(ASTRONAUT)), output=str(tmp_path / "face.png")))
    assert drawing.shape[1] == 1024 + 512 + 48
    with FaceFinder() as finder:
        (again,) = finder.find(drawing[:, -512 - 16 : -16])  # the crop beside it
    assert abs(again.roll_deg) < 1


def test_a_small_face_in_a_large_photo_and_two_faces(media: Path, tmp_path: Path) -> None:
    path = face(str(media / "photo_small_face.jpg"), output=str(tmp_path / "small.jpg"))
    assert read_image(path).shape[1] == 1024 + 512 + 48
    photo = read_image(media / "photo_two_faces.jpg")
    with FaceFinder() as finder:
        faces = finder.find(photo)
    one, other = (draw_face(photo, faces, chosen, face_crop(chosen)) for chosen in faces)
    assert one.shape == other.shape and (one != other).any()


def test_no_such_face(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    output = str(tmp_path / "face.png")
    write_image(tmp_path / "grey.png", np.full((200, 200, 3), 128, np.uint8))
    with pytest.raises(InputError, match="no face found"):
        face(str(tmp_path / "grey.png"), output=output)
    with pytest.raises(InputError, match="no face 3; choose --face from 1: box"):
        face(str(PORTRAIT), output=output, face=3)
    with pytest.raises(InputError, match="is the photo itself"):
        face(str(tmp_path / "grey.png"), output=str(tmp_path / "grey.png"))
    with pytest.raises(InputError, match="--size 3"):
        face(str(PORTRAIT), output=output, size=3)
    with pytest.raises(InputError, match="written as .png or .jpg"):
        face(str(PORTRAIT), output=str(tmp_path / "face.tiff"))
    with pytest.raises(InputError):
        face(str(SPEAKER), output=output)
    assert not Path(output).exists()


def test_a_cropped_clip_is_the_driving_crop(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Lossless frames: each pixel is that of the track's crop, as inference applies it."""
    crop_video(str(SPEAKER), output=str(tmp_path / "frames"), size=128)
    reader = VideoReader(SPEAKER)
    with FaceFinder() as finder:
        (track,) = find_tracks(reader.lazy_frames(), finder)
    crop = track.crop(128)
    written = list(VideoReader(tmp_path / "frames"))
    assert len(written) == len(track)
    for index in (0, 50, len(track) - 1):
        frame = next(reader.frames(track.start + index, track.stop))
        assert np.array_equal(written[index].image, crop.apply(frame.image))
    assert f"crop: {crop.side_px:.0f} px around" in capsys.readouterr().out


def test_times_and_sound_are_kept(media: Path, tmp_path: Path) -> None:
    crop_video(str(media / "drive_recorder_vfr.webm"), output=str(tmp_path / "crop.mp4"), size=64)
    source, crop = VideoReader(media / "drive_recorder_vfr.webm"), VideoReader(tmp_path / "crop.mp4")
    assert [frame.time for frame in crop.lazy_frames()] == [frame.time for frame in source.lazy_frames()]
    assert crop.has_audio and (crop.width, crop.height) == (64, 64)


def test_a_clip_that_cannot_be_cropped(tmp_path: Path) -> None:
    output = str(tmp_path / "crop.mp4")
    with pytest.raises(InputError, match="no face track 2; choose --track from 1: frames 0 to"):
        crop_video(str(SPEAKER), output=output, track=2)
    with pytest.raises(InputError, match="--scale 0"):
        crop_video(str(SPEAKER), output=output, scale=0)
    with pytest.raises(InputError, match="no such file"):
        crop_video(str(tmp_path / "none.mp4"), output=output)
    assert not Path(output).exists()


def test_on_the_command_line_the_photo_is_named_without_an_option(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "preprocess", "crop-video", str(tmp_path / "none.mp4"), "--size", "64"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
