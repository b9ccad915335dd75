"""Frames for other programs: y4m as its description says, on stdout and into a named pipe, and a virtual camera."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import processes
import pytest

from fomm import errors
from fomm.animator.provenance import Label
from fomm.errors import InputError
from fomm.model.face import Edit, Recording
from fomm.model.face.recording import write_motion
from fomm.video import VideoReader, VideoWriter, write_image
from infer import Options, infer
from preprocess.synthetic.puppets import Camera, Pose, draw, random_identity

ROOT = Path(__file__).resolve().parent.parent
SIDE, FRAMES = 160, 4


class Y4m:
    """What a y4m stream holds, read by its description alone: `YUV4MPEG2` and parameters, then FRAME after FRAME."""

    def __init__(self, data: bytes) -> None:
        head, rest = data.split(b"\n", 1)
        magic, *parameters = head.decode().split(" ")
        assert magic == "YUV4MPEG2"
        self.parameters = {word[0]: word[1:] for word in parameters if word[0] != "X"}
        assert {"XCOLORRANGE=LIMITED"} <= set(parameters) and self.parameters["C"] == "420jpeg"
        self.width, self.height = int(self.parameters["W"]), int(self.parameters["H"])
        self.rate = Fraction(self.parameters["F"].replace(":", "/"))
        size = self.width * self.height * 3 // 2
        self.planes = []
        while rest:
            assert rest.startswith(b"FRAME\n") and len(rest) >= 6 + size, "nothing but frames, and each is whole"
            self.planes.append(np.frombuffer(rest[6 : 6 + size], np.uint8))
            rest = rest[6 + size :]

    def rgb(self, index: int, red: float, blue: float) -> np.ndarray:
        """(H, W, 3) of 0 to 255, by the weights of red and blue in the luma (ITU-R BT.601, BT.709), limited range."""
        w, h = self.width, self.height
        luma, *chroma = np.split(self.planes[index].astype(float), [w * h, w * h * 5 // 4])
        y = (luma.reshape(h, w) - 16) / 219
        cb, cr = ((c.reshape(h // 2, w // 2).repeat(2, 0).repeat(2, 1) - 128) / 224 for c in chroma)
        r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
        return 255 * np.stack([r, (y - red * r - blue * b) / (1 - red - blue), b], -1)


BT601, BT709 = (0.299, 0.114), (0.2126, 0.0722)


@pytest.fixture
def received(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], bytes]]]:
    """A named pipe, and what its reader has got of it once the writer has closed it."""
    path, got = tmp_path / "pipe", io.BytesIO()
    os.mkfifo(path)
    reader = threading.Thread(target=lambda: got.write(path.read_bytes()), daemon=True)
    reader.start()

    def everything() -> bytes:
        reader.join(60)
        return got.getvalue()

    yield path, everything


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small photo, and a motion file of a few frames."""
    folder = tmp_path_factory.mktemp("inputs")
    write_image(folder / "photo.png", draw(random_identity(1), Pose(), SIDE, Camera(0, 0, 3.4)).image)
    write_motion(folder / "m.json", Recording.of_edits([Edit(mouth=0.2 * i) for i in range(FRAMES)], 10))
    return folder


def words(inputs: Path, output: str) -> list[str]:
    return [
        *("infer.py", "--device", "cpu", "--output", output),
        *("--source", str(inputs / "photo.png"), "--driving", str(inputs / "m.json")),
    ]


def counted(value: int, size: tuple[int, int] = (8, 6)) -> np.ndarray:
    return np.full((size[1], size[0], 3), value, np.uint8)


# ----------------------------------------------------------------------------------------------------------------- y4m


@pytest.mark.parametrize(("size", "weights"), [((65, 33), BT601), ((1281, 6), BT709), ((6, 578), BT709)])
def test_colours_are_those_that_players_take_it_for(received, size: tuple[int, int], weights: tuple) -> None:
    path, everything = received
    colours = [(200, 40, 60), (20, 180, 90), (30, 60, 220)]
    with VideoWriter(path, fps=Fraction(30000, 1001)) as writer:
        for colour in colours:
            writer.write(np.broadcast_to(np.array(colour, np.uint8), (size[1], size[0], 3)).copy())
    stream = Y4m(everything())
    assert (stream.width, stream.height) == (-(-size[0] // 2) * 2, -(-size[1] // 2) * 2)
    assert stream.rate == Fraction(30000, 1001) and len(stream.planes) == 3
    for index, colour in enumerate(colours):
        assert np.abs(stream.rgb(index, *weights) - colour).max() < 2.5


def test_uneven_times_become_the_nearest_frames_of_the_rate(received) -> None:
    path, everything = received
    with VideoWriter(path, fps=10) as writer:
        for value, tenths in ((20, 0), (60, 1), (100, 1.4), (140, 4), (180, 5.2)):
            writer.write(counted(value), Fraction(tenths) / 10)
    stream = Y4m(everything())
    seen = [round(float(stream.rgb(index, *BT601)[0, 0, 0]), -1) for index in range(len(stream.planes))]
    assert seen == [20, 60, 60, 60, 140, 180]


def test_ffmpeg_reads_it_as_it_comes(received) -> None:
    path, everything = received
    with VideoWriter(path, fps=24) as writer:
        for value in (10, 90, 170):
            writer.write(counted(value))
    with av.open(io.BytesIO(everything())) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 24
    assert [round(float(frame.mean()), -1) for frame in frames] == [10, 90, 170]


def test_each_frame_is_there_as_soon_as_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[int] = []

    def read() -> None:
        with open(path, "rb", buffering=0) as pipe:
            while data := pipe.read(1 << 16):
                got.append(len(data))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with VideoWriter(path, fps=10) as writer:
        for number in range(1, 4):
            writer.write(counted(number))
            deadline = time.monotonic() + 60
            while sum(got) < number * (6 + 8 * 6 * 3 // 2):
                assert time.monotonic() < deadline, "the frame did not come before the next one"
                time.sleep(0.01)
    reader.join(60)


def test_stdout_holds_frames_alone_with_the_mark_and_is_what_a_file_shows(inputs: Path, tmp_path: Path) -> None:
    done = processes.run(words(inputs, "-"), cwd=ROOT, capture_output=True, timeout=250)
    said = done.stderr.decode()
    assert done.returncode == 0 and f"sent to another program: {FRAMES} frames, 0.40 s, {SIDE}x{SIDE}" in said, said
    stream = Y4m(done.stdout)
    assert stream.rate == 10 and len(stream.planes) == FRAMES
    infer(Options(str(inputs / "photo.png"), str(inputs / "m.json"), str(tmp_path / "frames"), device="cpu"))
    mark = Label()
    for index, frame in enumerate(VideoReader(tmp_path / "frames")):
        marked = mark(frame.image)
        assert np.abs(marked.astype(int) - frame.image).max() > 100
        shown = stream.rgb(index, *BT601)
        grey = lambda picture: picture @ [0.299, 0.587, 0.114]  # noqa: E731 - which 4:2:0 keeps
        assert np.abs(grey(shown) - grey(marked.astype(float))).mean() < 1.5
        corner = np.s_[-8:, :30]
        assert np.abs(grey(shown) - grey(frame.image.astype(float)))[corner].mean() > 20
    assert sorted(path.name for path in inputs.iterdir()) == ["m.json", "photo.png"]


def test_a_reader_that_goes_is_one_line_and_the_exit_code_of_a_broken_pipe(inputs: Path) -> None:
    process = processes.Popen(words(inputs, "-"), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    said = process.stderr.read().decode().splitlines()
    assert process.wait(250) == 141
    assert said[-1] == "stopped: -: whoever read the frames has gone" and "Traceback" not in "".join(said)


def test_a_terminal_is_not_filled_with_frames() -> None:
    ours, theirs = os.openpty()
    code = "from fomm import errors, video; errors.run(lambda: video.VideoWriter('-'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE, timeout=120)
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2 and b"would fill this terminal" in done.stderr


def test_a_closed_stdout_gets_no_frames() -> None:
    command = [sys.executable, "-c", "from fomm import errors, video; errors.run(lambda: video.VideoWriter('-'))"]
    closed = ["sh", "-c", '"$0" "$@" >&-', *command]
    done = subprocess.run(closed, cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("error: --output -: the standard output is closed")


def test_whoever_waits_for_a_reader_says_so(inputs: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    to_pipe = words(inputs, str(tmp_path / "pipe"))
    process = processes.Popen(to_pipe, forked=False, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert "a named pipe; the frames wait until somebody reads it" in process.stderr.readline()
    frames = Y4m((tmp_path / "pipe").read_bytes()).planes
    assert process.wait(250) == 0 and len(frames) == FRAMES
    process.stderr.close()


def test_a_rate_that_y4m_cannot_say_is_told(received) -> None:
    path, everything = received
    with pytest.raises(InputError, match="frame times that far apart"):
        with VideoWriter(path, fps=Fraction(1, 10**10)) as writer:
            writer.write(counted(1))
    open(path, "wb").close()  # for the reader, who still waits
    assert everything() == b""


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"side_by_side": True}, "have no file beside them"),
        ({"sign": "cert.pem,key.pem"}, "cannot be signed"),
        ({"source": "folder"}, "--output -: takes the frames of one photo and one video"),
    ],
)
def test_what_frames_for_a_program_cannot_have_is_told(inputs: Path, more: dict, says: str) -> None:
    given = {"source": str(inputs / "photo.png"), "driving": str(inputs / "m.json"), "output": "-", **more}
    if given["source"] == "folder":
        given["source"] = str(inputs)
    with pytest.raises(InputError, match=says):
        infer(Options(**given, device="cpu"))


# -------------------------------------------------------------------------------------------------------------- camera


class FakeCamera:
    """What is used of `pyvirtualcam.Camera`: remembers what it is shown, and when."""

    made: list[FakeCamera] = []

    def __init__(self, width: int, height: int, fps: float) -> None:
        self.size, self.fps, self.closed, self.opened = (width, height), fps, False, time.monotonic()
        self.shown: list[tuple[float, np.ndarray]] = []
        self.made.append(self)

    def send(self, frame: np.ndarray) -> None:
        assert frame.shape == (self.size[1], self.size[0], 3) and frame.dtype == np.uint8 and not self.closed
        assert frame.flags.c_contiguous
        self.shown.append((time.monotonic(), frame))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> type[FakeCamera]:
    monkeypatch.setattr(FakeCamera, "made", [])
    monkeypatch.setitem(sys.modules, "pyvirtualcam", SimpleNamespace(Camera=FakeCamera))
    return FakeCamera


def test_a_virtual_camera_shows_each_frame_at_its_time(device: type[FakeCamera]) -> None:
    with VideoWriter("camera", fps=20) as writer:
        for value in range(5):
            writer.write(counted(value, (7, 5)))
    (camera,) = device.made
    assert camera.size == (8, 6) and camera.fps == 20 and camera.closed
    assert [frame[0, 0, 0] for _, frame in camera.shown] == [0, 1, 2, 3, 4]
    assert all(at - camera.opened >= 0.05 * index for index, (at, _) in enumerate(camera.shown)), "none is early"


def test_infer_shows_a_marked_portrait_in_a_virtual_camera(inputs: Path, device: type[FakeCamera]) -> None:
    (result,) = infer(Options(str(inputs / "photo.png"), str(inputs / "m.json"), "camera", device="cpu"))
    (camera,) = device.made
    assert len(camera.shown) == FRAMES and camera.size == (SIDE, SIDE) and camera.closed
    assert result.outputs == result.files == [] and "to another program: 4 frames" in str(result)
    frame = camera.shown[0][1]
    photo = next(iter(VideoReader(inputs / "photo.png"))).image
    assert np.abs(frame.astype(int) - Label()(photo)).max() <= 1, "the first frame of the motion is the photo, marked"


def test_without_pyvirtualcam_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(SystemExit) as stopped:
        errors.run(lambda: VideoWriter("camera"))
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 1
    assert lines[0].startswith("error: --output camera: needs pyvirtualcam")
    assert "pip install -e '.[camera]'" in lines[0]


def test_a_system_without_a_virtual_camera_is_told(device: type[FakeCamera], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("'v4l2loopback' backend: No device found.\nSee the documentation.")

    monkeypatch.setattr(device, "__init__", refuse)
    with pytest.raises(InputError, match=r"no virtual camera could be opened \('v4l2loopback' backend.*docs/direct.md"):
        with VideoWriter("camera") as writer:
            writer.write(counted(1))


def test_the_real_library_takes_what_it_is_given() -> None:
    pyvirtualcam = pytest.importorskip("pyvirtualcam", reason="needs pyvirtualcam (pip install fomm[camera])")
    try:
        pyvirtualcam.Camera(64, 48, 25.0).close()
    except RuntimeError as error:  # a machine without a virtual camera
        assert "backend" in str(error)
