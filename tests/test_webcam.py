"""--driving webcam: a video file stands where the camera would be, at the camera's pace."""

from __future__ import annotations

import sys
import time
from itertools import cycle
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import infer
import studio.recording
from fomm.animator.provenance import Label
from fomm.errors import InputError
from fomm.video import VideoReader, read_image
from fomm.video.camera import camera_frames, opened_camera
from infer import Options
from preprocess.crop import shrunk
from preprocess.faces import Face, FaceFinder
from preprocess.pairing import start_hint
from preprocess.synthetic.puppets import Camera, Pose, draw, random_identity
from studio.recording import record

ROOT = Path(__file__).resolve().parent.parent
SPEAKER = ROOT / "fomm" / "assets" / "speaker.mp4"


class FileAsCamera:
    """OpenCV's reader of a file, as slow as a camera, from the start again at the file's end."""

    def __init__(self, path: Path, fps: float) -> None:
        self._path, self._interval = str(path), 1 / fps
        self._capture, self._due = cv2.VideoCapture(self._path), 0.0

    def read(self) -> tuple[bool, np.ndarray]:
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._due = time.monotonic() + self._interval
        found, image = self._capture.read()
        if not found:
            self._capture = cv2.VideoCapture(self._path)
            found, image = self._capture.read()
        return found, image


def test_a_recording_keeps_the_times_at_which_frames_were_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, gaps = 100.0, cycle((0.05, 0.12))

    class Uneven(FileAsCamera):
        def read(self) -> tuple[bool, np.ndarray]:
            nonlocal now
            now += next(gaps)
            return super().read()

    monkeypatch.setattr("fomm.video.camera.time", SimpleNamespace(monotonic=lambda: now))
    said: list[str] = []
    heard: list[int] = []
    path = tmp_path / "recording.mp4"
    record(
        Uneven(SPEAKER, float("inf")), path, 1.5, said.append, progress=lambda stage, done, total: heard.append(done)
    )
    frames = list(VideoReader(path))
    times = [frame.time for frame in frames]
    assert times[0] == 0 and 1.5 - 0.12 < times[-1] <= 1.5
    between = np.diff(np.array(times, float)).round(2)
    assert set(between[:2]) == {0.05, 0.12}
    assert np.array_equal(between[2:], between[:-2])
    assert heard[-1] == len(frames)
    assert said[0].startswith("look straight into the camera")
    assert [line[0] for line in said[1:4]] == ["3", "2", "1"]
    assert "recording 1.5 s" in said[4] and f"--driving {path}" in said[-1]
    picture = frames[0].image  # colours in the right order: the speaker's clip, some frame of it
    distance = [np.abs(frame.image.astype(int) - picture).mean() for frame in VideoReader(SPEAKER)]
    assert picture.shape == (384, 384, 3) and min(distance) < 6


def test_the_command_line_records_and_animates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """All but the device: OpenCV opens a file where it would open camera 1."""
    opened: list[int] = []
    real = cv2.VideoCapture

    def open_file(number: int | str) -> FileAsCamera | cv2.VideoCapture:
        if isinstance(number, str):
            return real(number)
        opened.append(number)
        camera = FileAsCamera(SPEAKER, 12)
        camera.isOpened, camera.release = (lambda: True), (lambda: None)
        return camera

    monkeypatch.setattr(cv2, "VideoCapture", open_file)
    monkeypatch.setattr(studio.recording, "COUNTDOWN", 1)
    output = tmp_path / "result.mp4"
    (result,) = infer.infer(
        Options(
            str(ROOT / "fomm" / "assets" / "portrait.png"), "webcam:1", str(output), "puppets", seconds=1, device="cpu"
        )
    )
    assert opened == [1]
    recording = tmp_path / "result_driving.mp4"
    assert result.rendered.frames == len(list(VideoReader(recording))) and not VideoReader(output).has_audio
    err = capsys.readouterr().err
    assert "1 ... " in err and "recorded" in err


def test_a_camera_drives_the_photo_live_for_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """All but the two devices: the speaker's clip is the camera, and what the virtual one is shown is kept."""
    shown: list[np.ndarray] = []

    class Ending(FileAsCamera):
        def read(self) -> tuple[bool, np.ndarray | None]:
            return super().read() if len(shown) < 5 else (False, None)

        def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
            return True

        def release(self) -> None: ...

    virtual = SimpleNamespace(send=shown.append, close=lambda: None)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=lambda *_: virtual))
    real = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda n: real(n) if isinstance(n, str) else Ending(SPEAKER, 12))
    monkeypatch.setattr(studio.recording, "COUNTDOWN", 1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="the camera stopped giving pictures"):
        infer.infer(Options(str(ROOT / "fomm" / "assets" / "portrait.png"), "webcam", "camera", device="cpu"))
    said = capsys.readouterr().err
    assert "1 ... " in said and "live, until Ctrl-C" in said and list(tmp_path.iterdir()) == []
    photo = shrunk(read_image(ROOT / "fomm" / "assets" / "portrait.png"), 512)
    marked = Label()(photo)
    assert len(shown) >= 5 and all(frame.shape == photo.shape for frame in shown)
    for frame in shown:
        change = np.abs(frame.astype(int) - marked).max(-1)
        assert change[-10:, :40].max() <= 1, "the mark is in every picture"
    assert max(np.abs(frame.astype(int) - shown[0]).max() for frame in shown) > 30, "the photo moves"


def test_what_is_wrong_is_said_before_anybody_records(tmp_path: Path) -> None:
    photo = str(ROOT / "fomm" / "assets" / "portrait.png")
    for options, says in (
        (Options("nobody.png", "webcam", str(tmp_path / "r.mp4")), "nobody.png: .*no such file"),
        (Options(photo, "webcam", str(tmp_path / "r.mp4"), seconds=0), "--seconds is 0"),
        (Options(photo, "webcam:97", str(tmp_path / "r.mp4")), "webcam: no camera could be opened"),
    ):
        with pytest.raises(InputError, match=says):
            infer.infer(options)
    assert list(tmp_path.iterdir()) == []


def test_webcam_is_a_camera_unless_there_is_such_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [Options("", name, "").camera for name in ("webcam", "webcam:2", "webcam.mp4", "webcam:x")] == [
        0,
        2,
        None,
        None,
    ]
    (tmp_path / "webcam").mkdir()
    assert Options("", "webcam", "").camera is None


def test_no_camera_and_a_camera_that_stops() -> None:
    with pytest.raises(InputError, match="connect one or close the program that uses it"), opened_camera(98):
        pass
    capture = cv2.VideoCapture(str(SPEAKER))  # ends after 100 frames
    with pytest.raises(InputError, match="the camera stopped giving pictures"):
        list(camera_frames(capture, 60))


def test_hints_say_what_to_change(finder: FaceFinder) -> None:
    identity, size = random_identity(5), (320, 240)

    def hint(pose: Pose, camera: Camera) -> str | None:
        image = draw(identity, pose, size, camera).image
        return start_hint(finder.find(image, thorough=False), image.shape)

    middle = Camera(0, 0, 3.2)
    assert hint(Pose(), middle) is None
    assert hint(Pose(roll=0.4), middle) == "hold your head upright"
    assert hint(Pose(yaw=0.5), middle) == "look straight into the camera"
    assert hint(Pose(), Camera(0, 0, 13)) == "come closer"
    assert hint(Pose(), Camera(1.4, 0, 3.6)) == "move to the middle of the picture"
    assert start_hint([], (240, 320, 3)).startswith("no face seen")


def test_a_face_that_fills_the_picture_is_too_near(finder: FaceFinder) -> None:
    face: Face = finder.find(draw(random_identity(5), Pose(), (320, 240), Camera(0, 0, 3.2)).image)[0]
    side = round(face.side_px / 0.8)
    assert start_hint([face], (side, 2 * side, 3)) == "move back a little"


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    with FaceFinder() as finder:
        yield finder
