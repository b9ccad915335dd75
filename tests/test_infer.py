"""infer.py with real files: what comes out, what is said, and what happens when something is wrong."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import processes
import pytest
from made_videos import audio_codec, beeps_in, make_clip, numbered, steady
from pictures import ASTRONAUT, picture
from PIL import Image
from small_models import small_model

import infer
from fomm import errors
from fomm.animator import AnimationSettings, Animator
from fomm.checkpoint import load_model, save_weights
from fomm.errors import InputError
from fomm.files import hash_file
from fomm.video import SYNTHETIC, SYNTHETIC_COMPOSITE, VideoReader, read_image, write_image
from infer import Options
from preprocess.crop import Paster
from preprocess.faces import FaceFinder
from preprocess.pairing import pair_faces, track_driving
from preprocess.synthetic.puppets import Camera, Pose, draw, framing, random_identity, random_motion
from studio.animation import CropTools, Tools, animate_files
from studio.batch import list_pairs

ROOT = Path(__file__).resolve().parent.parent
FRAMES, FPS = 12, 6
SIZE = 64  # of the small model


# ------------------------------------------------------------------------------------------- what the tests work with


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs that every test may read: a photo, a clip with sound, a small model with random weights."""
    folder = tmp_path_factory.mktemp("inputs")
    tilted = Pose(roll=0.25)
    write_image(folder / "photo.png", draw(random_identity(1), tilted, (320, 250), Camera(-0.3, 0.4, 4.5)).image)
    identity, motion = random_identity(2), random_motion(3, FRAMES, FPS, neutral_start=True)
    camera = framing(identity, motion, scale=1.6)
    make_clip(
        folder / "clip.mp4",
        steady(FRAMES, FPS),
        size=(192, 192),
        draw=lambda index, *_: draw(identity, motion[index], 192, camera).image,
        sound=("aac", Fraction(0), FRAMES / FPS),
    )
    save_weights(folder / "small.safetensors", small_model(), category="face", image_size=SIZE)
    return folder


@pytest.fixture(scope="module")
def tools(folder: Path) -> Iterator[Tools]:
    model, info = load_model(folder / "small.safetensors")
    with FaceFinder() as finder:
        yield CropTools(Animator(model, device="cpu"), info, finder, finder.landmarks)


class StandIn:
    """An animator without a network: shows where things come from and go to."""

    batch_size = 2

    def __init__(self, what: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
        self.what, self.asked = what, {}

    def animate(
        self, source: np.ndarray, driving: Iterable[np.ndarray], settings: AnimationSettings, **more: object
    ) -> Iterator[np.ndarray]:
        self.asked = {"relative": settings.relative, "adapt_scale": settings.adapt_scale, **more}
        return (self.what(source, frame) for frame in driving)

    def reconstruction_error(self, source: np.ndarray) -> float:
        return 0.0


def give_source_back(source: np.ndarray, driving: np.ndarray) -> np.ndarray:
    return source


def give_driving_back(source: np.ndarray, driving: np.ndarray) -> np.ndarray:
    return driving


def command_line(*arguments: object) -> list[str]:
    return [text for argument in arguments for text in shlex.split(str(argument))]


class Outcome:
    """Exit code and what was printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def error(self) -> str:
        """The one error line; nothing may follow it."""
        lines = self.err.strip().splitlines()
        assert lines[-1].startswith("error: "), self.err
        assert sum(line.startswith("error: ") for line in lines) == 1 and "Traceback" not in self.err
        return lines[-1]


@pytest.fixture
def call(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., Outcome]:
    """Run the script's own entry in this process; the photo, clip and model of `folder` unless told otherwise."""

    def call(output: Path | str, extra: str = "", **given: object) -> Outcome:
        paths = {
            "source": folder / "photo.png",
            "driving": folder / "clip.mp4",
            "checkpoint": folder / "small.safetensors",
            "device": "cpu",
        }
        words = [f"--{key}={value}" for key, value in {**paths, **given, "output": output}.items()]
        monkeypatch.setattr(sys, "argv", ["infer.py", *words, *shlex.split(extra)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            errors.run(infer.main)
        return Outcome(stopped.value.code, *capsys.readouterr())

    return call


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def frames_of(path: Path) -> tuple[np.ndarray, list[Fraction]]:
    images, times = zip(*VideoReader(path), strict=True)
    return np.stack(images), list(times)


# ------------------------------------------------------------------------------------------------------ what comes out


def test_a_photo_and_a_clip_become_a_finished_video(folder: Path, tmp_path: Path, call) -> None:
    output = tmp_path / "new" / "result.mp4"
    outcome = call(output, "--side_by_side true")
    assert outcome.code == 0, outcome.err
    assert "12 frames, 2.00 s, 320x250" in outcome.out and re.search("on cpu, (fp32|bf16)", outcome.err)
    assert names_in(output.parent) == ["result.mp4", "result.mp4.json", "result_side_by_side.mp4"]
    images, times = frames_of(output)
    assert images.shape == (FRAMES, 250, 320, 3)
    assert times == frames_of(folder / "clip.mp4")[1]
    assert audio_codec(output) == "aac"
    np.testing.assert_allclose(beeps_in(output), beeps_in(folder / "clip.mp4"), atol=0.04)
    photo = read_image(folder / "photo.png").astype(int)
    change = np.abs(images - photo).max(-1)
    assert change[..., :100].max() < 40 and np.median(change[..., :100]) <= 2  # far from the face only the codec's loss
    assert change.max() > 60  # and a face of random weights is unlike the photo's
    assert VideoReader(tmp_path / "new" / "result_side_by_side.mp4").width == 320 + 250 + 320


def test_the_result_says_that_it_is_synthetic_and_how_it_was_made(folder: Path, tmp_path: Path, call) -> None:
    output = tmp_path / "result.mp4"
    assert call(output, "--scale 1.3 --best_frame false").code == 0
    with av.open(str(output)) as container:
        assert container.metadata["DigitalSourceType"] == SYNTHETIC_COMPOSITE
        assert "AI-generated" in container.metadata["comment"]
    assert SYNTHETIC_COMPOSITE.encode() in output.read_bytes().rpartition(b"uuid")[2]  # the XMP that exiftool reads
    record = json.loads((tmp_path / "result.mp4.json").read_text())
    assert record["synthetic"] is True and record["made_by"].startswith("fomm ")
    assert record["outputs"] == {"result.mp4": hash_file(output)}
    for role, name in (("source", "photo.png"), ("driving", "clip.mp4")):
        assert record["inputs"][role] == {"path": str(folder / name), "sha256": hash_file(folder / name)}
    assert record["checkpoint"]["sha256"] == hash_file(folder / "small.safetensors")
    # enough to run it again: the settings are the command line's, and give the same picture
    again = {key: value for key, value in record["settings"].items() if value is not None}
    assert again["scale"] == 1.3 and again["best_frame"] is False and again["embed"] is True
    words = " ".join(f"--{key} {json.dumps(value)}" for key, value in again.items() if key != "output")
    assert call(tmp_path / "again.mp4", words).code == 0
    np.testing.assert_array_equal(frames_of(tmp_path / "again.mp4")[0], frames_of(output)[0])


def test_the_embedded_model_animates_and_says_what_it_is_for(folder: Path, tmp_path: Path, call) -> None:
    outcome = call(tmp_path / "r.mp4", "--audio false", checkpoint="puppets")
    assert outcome.code == 0 and "drawn puppets only" in outcome.err
    images, _ = frames_of(tmp_path / "r.mp4")
    change = np.abs(images.astype(int) - read_image(folder / "photo.png")).max(-1)
    assert change.mean() < 10 and change.max() > 40  # it moves, and is still the same picture
    record = json.loads((tmp_path / "r.mp4.json").read_text())
    assert record["checkpoint"]["name"] == "puppets" and len(record["checkpoint"]["sha256"]) == 64


def test_without_crop_and_embed_the_models_plain_output_comes_out(folder: Path, tmp_path: Path, tools: Tools) -> None:
    options = AnimationSettings(crop=False)
    decided = options.decided(1.2)
    assert not decided.embed and not decided.best_frame
    result = animate_files(folder / "photo.png", folder / "clip.mp4", tmp_path / "frames", options, tools)
    source, *driving = (
        np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BOX))
        for image in (read_image(folder / "photo.png"), *frames_of(folder / "clip.mp4")[0])
    )
    expected = np.stack(list(tools.animator.animate(source, driving)))
    images, _ = frames_of(tmp_path / "frames")
    assert images.shape == expected.shape == (FRAMES, SIZE, SIZE, 3)
    assert np.abs(images.astype(int) - expected).mean() < 3  # the two ways of shrinking differ by a little
    record = json.loads(result.sidecar.read_text())
    assert record["tags"]["DigitalSourceType"] == SYNTHETIC and record["settings"]["crop"] is False


def test_inputs_of_the_models_size_are_taken_as_they_are(tmp_path: Path, tools: Tools) -> None:
    """No resampling, no best frame, first frame as the start: exactly what the animator makes of the same pixels."""
    random = np.random.default_rng(0)
    source, *driving = np.repeat(np.repeat(random.integers(0, 256, (6, 8, 8, 3), np.uint8), 8, 1), 8, 2)
    write_image(tmp_path / "source.png", source)
    (tmp_path / "driving").mkdir()
    for index, frame in enumerate(driving):
        write_image(tmp_path / "driving" / f"{index}.png", frame)
    for relative in (True, False):
        options = AnimationSettings(crop=False, relative=relative)
        animate_files(tmp_path / "source.png", tmp_path / "driving", tmp_path / "out", options, tools)
        expected = list(tools.animator.animate(source, driving, AnimationSettings(relative=relative)))
        np.testing.assert_array_equal(frames_of(tmp_path / "out")[0], expected)


@pytest.mark.parametrize("name", ["photo_tilted.jpg", "photo_glasses.jpg", "photo_frontal.png", ASTRONAUT])
def test_an_unchanged_face_leaves_the_photo_unchanged(tmp_path: Path, tools: Tools, name: str) -> None:
    still = replace(tools, animator=StandIn(give_source_back))
    options = AnimationSettings(best_frame=False)
    animate_files(picture(name), picture(ASTRONAUT), tmp_path / "out.png", options, still)
    np.testing.assert_array_equal(read_image(tmp_path / "out.png"), read_image(picture(name)))


def test_a_real_photo_follows_a_clip(folder: Path, tmp_path: Path, call) -> None:
    outcome = call(tmp_path / "r.mp4", "--best_frame false", source=picture(ASTRONAUT))
    assert outcome.code == 0, outcome.err
    photo, (images, _) = read_image(picture(ASTRONAUT)), frames_of(tmp_path / "r.mp4")
    assert images.shape == (FRAMES, *photo.shape)
    change = np.abs(images.astype(int) - photo).max(-1)
    assert np.median(change[:, 300:]) <= 3 and change[:, 60:180, 170:280].max() > 60  # below the head; in the face


@pytest.mark.parametrize("name", ["photo_tilted.jpg", "photo_frontal.png"])
def test_both_sides_are_framed_alike(media: Path, tmp_path: Path, tools: Tools, name: str) -> None:
    """A stand-in that gives the driving crop back puts that face where the photo's was: place, size and roll."""
    photo, reader = read_image(media / name), VideoReader(media / "drive_hevc10.mp4")
    driving = track_driving(reader, tools.finder)
    pairing = pair_faces(photo, media / name, reader, driving, tools.finder, AnimationSettings(), size=256)
    pasted = Paster(photo, pairing.source_crop)(pairing.view(next(iter(reader)).image))
    before, after = tools.finder.find(photo)[0], tools.finder.find(pasted)[0]
    assert np.linalg.norm(after.centre_px - before.centre_px) < 0.06 * before.side_px
    assert after.side_px == pytest.approx(before.side_px, rel=0.06)
    assert after.roll_deg == pytest.approx(before.roll_deg, abs=4)  # the driving head is not quite upright


def test_other_kinds_of_result(folder: Path, tmp_path: Path, tools: Tools) -> None:
    options = AnimationSettings()
    for name in ("a.webm", "a.gif", "frames"):
        result = animate_files(folder / "photo.png", folder / "clip.mp4", tmp_path / name, options, tools)
        assert result.rendered.frames == FRAMES and (tmp_path / f"{name}.json").exists()
        assert len(frames_of(tmp_path / name)[0]) == FRAMES
    assert any("no sound" in warning for warning in result.warnings)
    assert audio_codec(tmp_path / "a.webm") == "opus"


def test_sound_can_be_left_out_and_the_mark_put_in(folder: Path, tmp_path: Path, tools: Tools) -> None:
    still = replace(tools, animator=StandIn(give_source_back))
    options = AnimationSettings(audio=False, label=True)
    animate_files(folder / "photo.png", folder / "clip.mp4", tmp_path / "a.mp4", options, still)
    assert not VideoReader(tmp_path / "a.mp4").has_audio
    change = np.abs(frames_of(tmp_path / "a.mp4")[0][0].astype(int) - read_image(folder / "photo.png")).max(-1)
    rows, columns = np.nonzero(change > 60)
    assert len(rows) > 50 and rows.min() > 220 and columns.max() < 120  # lower left corner


def test_motion_and_scale_options_reach_the_animator(folder: Path, tmp_path: Path, tools: Tools) -> None:
    still = replace(tools, animator=StandIn(give_source_back))
    for relative, adapt in ((True, False), (False, True)):
        options = AnimationSettings(relative=relative, adapt_scale=adapt, best_frame=False)
        animate_files(folder / "photo.png", folder / "clip.mp4", tmp_path / "a.mp4", options, still)
        assert still.animator.asked == {"initial": None, "relative": relative, "adapt_scale": adapt}
    record = [
        json.loads(animate_files(folder / "photo.png", folder / "clip.mp4", tmp_path / "a.mp4",
                                 AnimationSettings(scale=scale), still).sidecar.read_text())
        for scale in (1.2, 2.4)
    ]  # fmt: skip
    zoom = [np.hypot(*r["crop_matrices"]["driving"][0][:2]) for r in record]
    assert zoom[0] == pytest.approx(2 * zoom[1])
    trained = replace(still, checkpoint=replace(tools.checkpoint, provenance={"crop_scale": 1.6}))
    for given, used in ((still, 1.2), (trained, 1.6)):
        result = animate_files(
            folder / "photo.png", folder / "clip.mp4", tmp_path / "a.mp4", AnimationSettings(), given
        )
        assert json.loads(result.sidecar.read_text())["settings"]["scale"] == used


def test_it_starts_from_the_frame_most_like_the_photo(media: Path, tmp_path: Path, tools: Tools) -> None:
    """The photo is a frame of the video: that frame is found again, and is what the motion is relative to.

    An upright one: the photo is derotated, the driving is not, so a tilted frame would not be like its own photo.
    """
    reader, name = VideoReader(media / "drive_big_motion.mp4"), tmp_path / "photo.png"
    driving = track_driving(reader, tools.finder)
    samples = [s for s in driving.tracks[0].samples if s.frame % 5 == 0 and s.frame > 60]
    chosen = min(samples, key=lambda sample: abs(sample.roll_deg)).frame
    photo = next(reader.frames(chosen)).image
    pairing = pair_faces(
        photo, name, reader, driving, tools.finder, AnimationSettings(), size=256, landmarks=tools.landmarks
    )
    assert abs(pairing.initial_index - chosen) <= 5
    np.testing.assert_array_equal(pairing.initial, pairing.view(next(reader.frames(pairing.initial_index)).image))
    assert not any("starting frame" in doubt for doubt in pairing.doubts)
    turned = max(driving.tracks[0].samples, key=lambda sample: abs(sample.yaw_deg - samples[0].yaw_deg))
    far = next(reader.frames(turned.frame)).image
    doubts = pair_faces(far, name, reader, driving, tools.finder, AnimationSettings(), size=256).doubts
    assert any("starting frame (0) is unlike" in doubt for doubt in doubts)


def test_the_result_is_the_part_with_a_face_and_its_sound(tmp_path: Path, folder: Path, tools: Tools) -> None:
    """Face in seconds 1 to 3 of 4; beeps at each whole second. Times of the result count from its first frame."""
    identity, still = random_identity(4), Pose()
    face = draw(identity, still, 192, framing(identity, [still], scale=1.6)).image
    clip = make_clip(
        tmp_path / "part.mp4",
        steady(40, 10),
        size=(192, 192),
        draw=lambda index, *_: face if 10 <= index < 30 else numbered(0, 192, 192),
        sound=("aac", Fraction(0), 4.0),
    )
    result = animate_files(folder / "photo.png", clip, tmp_path / "r.mp4", AnimationSettings(), tools)
    assert result.rendered.frames == 20
    np.testing.assert_allclose(beeps_in(tmp_path / "r.mp4")[:2], [0, 1], atol=0.05)
    assert max(beeps_in(tmp_path / "r.mp4")) <= 2.001  # copied sound ends with the packet in which the picture ends
    assert any("from frame 10 to 29 of 40" in warning for warning in result.warnings)


def test_one_frame_is_a_video_of_one_frame(folder: Path, tmp_path: Path, call) -> None:
    for name, driving in (("still.mp4", folder / "photo.png"), ("still.png", folder / "photo.png")):
        outcome = call(tmp_path / name, driving=driving)
        assert outcome.code == 0, outcome.err
        assert "1 frames" in outcome.out and "--relative false" in outcome.err
        assert frames_of(tmp_path / name)[0].shape == (1, 250, 320, 3)


def test_times_of_an_uneven_recording_are_kept(media: Path, tmp_path: Path, tools: Tools) -> None:
    still = replace(tools, animator=StandIn(give_source_back))
    clip = media / "drive_recorder_vfr.webm"
    options = AnimationSettings(best_frame=False)
    animate_files(media / "photo_frontal.png", clip, tmp_path / "r.mp4", options, still)
    assert frames_of(tmp_path / "r.mp4")[1] == frames_of(clip)[1]
    np.testing.assert_allclose(beeps_in(tmp_path / "r.mp4"), beeps_in(clip), atol=1 / 60)


def test_progress_tells_every_frame_of_every_stage(folder: Path, tmp_path: Path, tools: Tools) -> None:
    heard: list[tuple[str, int, int | None]] = []
    fresh = replace(tools, tracked={})
    animate_files(folder / "photo.png", folder / "clip.mp4", tmp_path / "a.mp4", AnimationSettings(), fresh,
                  progress=lambda *event: heard.append(event))  # fmt: skip
    stages = list(dict.fromkeys(stage for stage, *_ in heard))
    assert stages == ["find faces", "find best frame", "animate"]
    for stage, frames in (("find faces", FRAMES), ("find best frame", 3), ("animate", FRAMES)):
        assert [done for s, done, _ in heard if s == stage] == [*range(frames + 1), frames]


# --------------------------------------------------------------------------------------------------------- many files


def test_folders_make_a_batch_and_one_failure_does_not_stop_it(folder: Path, tmp_path: Path, call) -> None:
    photos, clips = tmp_path / "photos", tmp_path / "clips"
    photos.mkdir(), clips.mkdir()
    write_image(photos / "a.png", read_image(folder / "photo.png"))
    write_image(photos / "nobody.png", np.full((100, 100, 3), 90, np.uint8))
    (clips / "one.mp4").write_bytes((folder / "clip.mp4").read_bytes())
    (clips / "two.MP4").write_bytes((folder / "clip.mp4").read_bytes())
    (clips / "notes.txt").write_text("not a video")
    outcome = call(tmp_path / "out", "--best_frame false", source=photos, driving=clips)
    assert outcome.code == 2
    last = outcome.err.strip().splitlines()[-1]
    assert last.startswith("error: 2 of 4 pairs failed") and "nobody_one.mp4, nobody_two.mp4" in last
    assert outcome.err.count("no face found") == 2
    made = ["a_one.mp4", "a_one.mp4.json", "a_two.mp4", "a_two.mp4.json"]
    assert names_in(tmp_path / "out") == made
    assert "need a folder" in call(tmp_path / "out.mp4", source=photos).error


def test_names_of_a_batch_do_not_clash(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png"):
        write_image(tmp_path / "photos" / name, np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "clip.mp4").write_text("not empty")
    pairs = list_pairs(str(tmp_path / "photos"), str(tmp_path / "clip.mp4"), "out")
    assert len({output for *_, output in pairs}) == len(pairs) == 3


def test_a_folder_of_frames_is_one_driving_video(tmp_path: Path) -> None:
    for index in range(3):
        write_image(tmp_path / "frames" / f"{index}.png", np.zeros((32, 32, 3), np.uint8))
    frames = tmp_path / "frames"
    photo = frames / "0.png"
    assert list_pairs(str(photo), str(frames), "out.mp4") == [(photo, frames, Path("out.mp4"))]


# --------------------------------------------------------------------------------------------------- what can go wrong


@pytest.mark.parametrize("name", ["photo_two_faces.jpg", "twice.png"])
def test_faces_to_choose_from_are_listed(tmp_path: Path, call, name: str) -> None:
    if name == "twice.png":
        one = read_image(picture(ASTRONAUT))
        write_image(photo := tmp_path / name, np.concatenate([one, one[:, ::-1]], 1))
    else:
        photo = picture(name)
    outcome = call(tmp_path / "a.mp4", "--best_frame false", source=photo)
    assert outcome.code == 0 and "2 faces, face 1 is taken; choose with --face from 1: box" in outcome.err
    second = call(tmp_path / "b.mp4", "--best_frame false --face 2", source=photo)
    assert second.code == 0 and "face 2 is taken" in second.err
    crops = [json.loads((tmp_path / f"{n}.mp4.json").read_text())["crop_matrices"]["source"] for n in "ab"]
    assert abs(crops[0][0][2] - crops[1][0][2]) > 50
    assert "no face 3; choose --face from 1: box" in call(tmp_path / "c.mp4", "--face 3", source=photo).error
    assert "no face track 2; choose --track from 1: frames 0" in call(tmp_path / "c.mp4", "--track 2").error


def bad_files(folder: Path) -> dict[str, Path]:
    folder.mkdir()
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("This is not a video.\n" * 50)
    (folder / "page.mp4").write_text("<!DOCTYPE html><html>Quota exceeded</html>")
    write_image(folder / "tiny.png", np.zeros((3, 3, 3), np.uint8))
    write_image(folder / "strip.png", np.zeros((10, 20000, 3), np.uint8))
    write_image(folder / "nobody.png", np.full((200, 300, 3), 128, np.uint8))
    make_clip(folder / "nobody.mp4", steady(12), size=(128, 128))
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    return {path.name: path for path in folder.iterdir()}


@pytest.mark.parametrize(
    "role, name, says",
    [
        ("source", "missing.png", "no such file"),
        ("source", "empty.mp4", "empty"),
        ("source", "text.mp4", "text"),
        ("source", "sound.mp4", "only sound"),
        ("source", "https://example.org/a.jpg", "only local files"),
        ("source", "tiny.png", "3x3 pixels.*16 or more"),
        ("source", "strip.png", "20000x10 pixels.*16 or more"),
        ("source", "nobody.png", "no face found.*tried.*--crop false"),
        ("driving", "missing.mp4", "no such file"),
        ("driving", "empty.mp4", "empty"),
        ("driving", "text.mp4", "text"),
        ("driving", "page.mp4", "web page"),
        ("driving", "sound.mp4", "only sound"),
        ("driving", "tiny.png", "3x3 pixels"),
        ("driving", "strip.png", "20000x10 pixels"),
        ("driving", "nobody.mp4", "no face found .looked at every 5th of its 12 frames.*detectors.*--crop false"),
        ("checkpoint", "text.mp4", "not a checkpoint"),
        ("checkpoint", "vox-advv", "no known checkpoint of this name.*vox-adv"),
    ],
)
def test_bad_files(tmp_path: Path, call, role: str, name: str, says: str) -> None:
    files = bad_files(tmp_path / "bad")
    outcome = call(tmp_path / "out" / "result.mp4", **{role: files.get(name, name)})
    assert outcome.code == 2
    assert re.search(says, outcome.error), outcome.error
    assert name in outcome.error
    assert names_in(tmp_path / "out") == []


@pytest.mark.parametrize("network", ["detector", "dense_motion", "generator"])
def test_broken_weights(folder: Path, tmp_path: Path, call, network: str) -> None:
    """Not a number in a file (which `save_weights` would refuse to write)."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "small.safetensors")
    with safe_open(folder / "small.safetensors", "pt") as file:
        metadata = file.metadata()
    name = next(name for name in tensors if name.startswith(network) and name.endswith("weight"))
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, tmp_path / "broken.safetensors", metadata)
    outcome = call(tmp_path / "out" / "result.mp4", checkpoint=tmp_path / "broken.safetensors")
    assert outcome.code == 2 and name in outcome.error
    assert names_in(tmp_path / "out") == []


def test_truncated_driving_video_is_used_as_far_as_it_goes(media: Path, tmp_path: Path, call) -> None:
    outcome = call(tmp_path / "a.mp4", driving=media / "drive_truncated.mp4")
    assert outcome.code == 0 and "cut off" in outcome.err
    assert 100 < len(frames_of(tmp_path / "a.mp4")[0]) < 130


def test_bad_places_for_the_result(folder: Path, tmp_path: Path, call) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("keep me")
    before = (folder / "clip.mp4").read_bytes()
    for output, says in [
        (folder / "clip.mp4", "is an input too"),
        (folder / "x" / ".." / "clip.mp4", "is an input too"),
        (tmp_path / "file" / "result.mp4", "file is not a folder"),
        ("/proc/fomm/result.mp4", "cannot be written"),
        (tmp_path / "result.avi", r"\.mp4, \.mov.*'\.avi'"),
        (tmp_path / "full", "letter.txt"),
        (tmp_path / "result.png", "one picture"),
        (tmp_path / f"{'n' * 250}.mp4", "File name too long"),
        ("", "--output is missing"),
        ("/", "/: this folder cannot be replaced"),
    ]:
        (folder / "x").mkdir(exist_ok=True)
        outcome = call(output)
        assert outcome.code == 2 and re.search(says, outcome.error), (output, outcome.error)
        late = "one picture" in says or str(output).startswith("/proc")  # all else is known before a model is loaded
        assert late or "model " not in outcome.err, output
    assert "/: this folder cannot be replaced" in call("/", "--side_by_side true").error
    longest = tmp_path / f"{'n' * 246}.mp4"  # beside it goes a name of 255 letters, which is as many as there may be
    assert call(longest, "--best_frame false").code == 0
    assert names_in(tmp_path) == ["file", "full", longest.name, f"{longest.name}.json"]
    assert names_in(tmp_path / "full") == ["letter.txt"]
    assert (folder / "clip.mp4").read_bytes() == before


@pytest.mark.parametrize(
    "extra, says",
    [
        ("--embed true --crop false", "--embed true needs --crop true"),
        ("--scale 0", "--scale is 0"),
        ("--device tpu", "device 'tpu' is unknown"),
        ("--batch_size 0", "batch_size is 0"),
        ("--relative maybe", "--relative: 'maybe' must be true or false"),
        ("--embed maybe", "--embed: 'maybe' must be true or false"),
        ("--precision int4", "--precision: 'int4' must be one of auto, fp32, bf16, fp16"),
        ("--face one", "--face: 'one' must be a whole number"),
        ("--scale big", "--scale: 'big' must be a number"),
        ("--speed 2", "unrecognized arguments: --speed 2"),
    ],
)
def test_bad_options(tmp_path: Path, call, extra: str, says: str) -> None:
    outcome = call(tmp_path / "a.mp4", extra)
    assert outcome.code == 2 and says in outcome.error, outcome.error
    assert names_in(tmp_path) == []


def test_the_sidecar_is_all_or_nothing(folder: Path, tmp_path: Path, tools: Tools) -> None:
    (tmp_path / "a.mp4.json").mkdir()
    (tmp_path / "a.mp4.json" / "in the way").touch()
    with pytest.raises(InputError, match="a.mp4.json"):
        animate_files(folder / "photo.png", folder / "clip.mp4", tmp_path / "a.mp4", AnimationSettings(), tools)
    assert names_in(tmp_path) == ["a.mp4.json"]


# --------------------------------------------------------------------------------------------- as a program of its own


def test_help_answers_at_once() -> None:
    """Nothing heavy is loaded for it: that, unlike seconds, is the same on every machine."""
    code = (
        "import sys, runpy; sys.argv = ['infer.py', '--help']\n"
        "try: runpy.run_path('infer.py', run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "heavy = {'torch', 'cv2', 'av', 'mediapipe', 'numpy', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for name in inspect.signature(Options).parameters:
        assert f"--{name} " in done.stdout


def test_the_names_that_other_programs_call_hold() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(Options).parameters.items()}
    assert [name for name, default in defaults.items() if default is inspect.Parameter.empty] == ["source"]
    assert {"driving", "output"} <= set(defaults)
    switches = "relative adapt_scale best_frame crop embed side_by_side audio label"
    promised = f"checkpoint {switches} face scale device precision batch_size"
    assert set(promised.split()) <= set(defaults)
    assert defaults["checkpoint"] == "face"


LIMITED = """
import resource, runpy
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
runpy.run_path("infer.py", run_name="__main__")
"""


def words_for(folder: Path, output: Path) -> list[str]:
    return command_line(
        f"--source {folder / 'photo.png'} --driving {folder / 'clip.mp4'} --checkpoint {folder / 'small.safetensors'}",
        f"--output {output} --device cpu --best_frame false",
    )


@pytest.mark.parametrize("name", ["r.mp4", "frames"])  # found at the end; or at once, while the networks compute
def test_full_disk(folder: Path, tmp_path: Path, name: str) -> None:
    """A limit on the size of files stands in for it: the system refuses to write on."""
    words = ["-c", LIMITED, *words_for(folder, tmp_path / name)]
    done = processes.run(words, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    assert f"{name}: cannot be written" in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert names_in(tmp_path) == []


def test_ctrl_c_leaves_nothing_behind(folder: Path, tmp_path: Path) -> None:
    clip = tmp_path / "long"  # long enough to be interrupted on the way: a folder of links to one frame
    clip.mkdir()
    frame = next(iter(VideoReader(folder / "clip.mp4"))).image
    write_image(clip / "0000.png", frame)
    for index in range(1, 2000):
        (clip / f"{index:04d}.png").symlink_to(clip / "0000.png")
    words = words_for(folder, tmp_path / "out" / "r.mp4") + ["--driving", str(clip), "--crop", "false"]
    process = processes.Popen(["infer.py", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    deadline = time.monotonic() + 120
    while not any(".part" in name for name in names_in(tmp_path / "out")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err and "wrote" not in out
    assert names_in(tmp_path / "out") == []
