"""Files that strangers made: numbers, sizes and depths that would hang or fill a machine, and what is said of them."""

from __future__ import annotations

import csv
import json
import resource
import runpy
import struct
import subprocess
import sys
import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import ROOT
from PIL import Image
from report_example import example_report, typed
from safetensors.torch import load_file, save_file
from small_clips import write_clips
from small_models import small_model

import train
from fomm.checkpoint import export_original, load_model, save_weights
from fomm.errors import InputError, run
from fomm.evaluation.measuring import Record
from fomm.files import atomic_output, read_yaml
from fomm.manifest import Clip, read_manifest, write_manifest
from fomm.numbers import count, exact_number
from fomm.report.files import write_files
from fomm.training.original_config import convert_config
from fomm.video import MAX_VIDEO_PIXELS, VideoReader, write_image
from preprocess.dataset.clips import Outcome, Video
from preprocess.dataset.metadata import read_metadata
from preprocess.dataset.records import Records
from studio.animation import read_photo

HUGE = ("1e1000000000", "1e-1000000000", "9" * 5000, "1/" + "9" * 5000, "-1e99", "nan", "inf", "1e9999", "0x10", "1_0")
CLIP = Clip("a", "a.mp4", "ann", "test", 4, Fraction(25), 64, 64)


@pytest.fixture(autouse=True)
def little_memory():
    """What takes more than a few gigabytes fails at once, and is seen."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (8 << 30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


# -------------------------------------------------------------------------------------------------------------- numbers


def test_numbers_are_exact_and_bounded() -> None:
    for text, value in (("25", 25), ("30000/1001", Fraction(30000, 1001)), ("29.97", Fraction(2997, 100)), (".5", 0.5)):
        assert exact_number(text) == value
    assert exact_number(" 1e-3 ") == Fraction(1, 1000) and count("12") == 12
    for text in HUGE[:2] + HUGE[2:4] + HUGE[5:]:
        with pytest.raises(ValueError):
            exact_number(text)
    for text in (*HUGE, "2147483648", "1.5"):
        with pytest.raises(ValueError):
            count(text)


@pytest.mark.parametrize("number", HUGE)
@pytest.mark.parametrize("column", ["fps", "frames", "width"])
def test_no_cell_of_a_manifest_hangs_its_reader(tmp_path: Path, column: str, number: str) -> None:
    write_manifest(tmp_path / "m.csv", [CLIP])
    rows = list(csv.reader((tmp_path / "m.csv").open()))
    rows[1][rows[0].index(column)] = number
    with open(tmp_path / "m.csv", "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    with pytest.raises(InputError, match=f"line 2: {column} ") as error:
        read_manifest(tmp_path / "m.csv")
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("number", HUGE)
def test_no_cell_of_metadata_and_no_time_hangs_its_reader(tmp_path: Path, number: str) -> None:
    head = "video_id,start,end,bbox,fps,width,height,partition,person_id"
    for row in (f"v,0,9,0-0-9-9,{number},64,64,test,ann", f"v,0,9,0-0-9-{number},25,64,64,test,ann",
                f"v,0,{number},0-0-9-9,25,64,64,test,ann"):  # fmt: skip
        (tmp_path / "meta.csv").write_text(f"{head}\n{row}\n")
        with pytest.raises(InputError, match="line 2: "):
            read_metadata(tmp_path / "meta.csv")
    write_image(tmp_path / "clip" / "0.png", np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "clip" / "times.txt").write_text(number)
    if number != "-1e99":  # a time like any other
        with pytest.raises(InputError, match="times.txt"):
            VideoReader(tmp_path / "clip")


def test_a_table_of_semicolons_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("clip_id;path;identity;split;frames;fps;width;height\na;b;c;test;1;25;9;9\n")
    for read in (read_manifest, read_metadata):
        with pytest.raises(InputError, match="separated by semicolons; export it with commas"):
            read(tmp_path / "m.csv")


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"clips": 3}', '{"clips": [{}]}', "[" * 100_000, "\0"])
def test_records_of_a_preparation_that_are_nonsense_do_not_count(tmp_path: Path, content: str) -> None:
    video = Video("a.mp4", "a", "ann", None)
    (tmp_path / "a.mp4").write_bytes(b"video")
    records = Records(tmp_path, tmp_path)
    records.write(video, Outcome())
    assert records.read(video) is not None
    (path,) = (tmp_path / "records").iterdir()
    path.write_text(content)
    assert records.read(video) is None
    assert records.begin(video, "run") == (1, {})


def test_a_record_removes_no_file_outside_of_its_data_set(tmp_path: Path) -> None:
    video = Video("a.mp4", "a", "ann", None)
    (tmp_path / "a.mp4").write_bytes(b"video")
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").write_text("kept")
    records = Records(tmp_path, tmp_path / "out")
    records.write(video, Outcome([replace(CLIP, path="../precious")]))
    (tmp_path / "a.mp4").write_bytes(b"another video")
    records.begin(video, "run")
    assert (tmp_path / "precious").read_text() == "kept"


# ---------------------------------------------------------------------------------------------------------- checkpoints


def with_metadata(path: Path, change: dict) -> Path:
    """Weights whose metadata is changed: keys with dots reach inside."""
    save_weights(path, small_model())
    tensors = load_file(path)
    with open(path, "rb") as stream:
        size = struct.unpack("<Q", stream.read(8))[0]
        about = json.loads(json.loads(stream.read(size))["__metadata__"]["fomm"])
    for keys, value in change.items():
        *outer, last = keys.split(".")
        place = about
        for key in outer:
            place = place[key]
        place[last] = value
    save_file(tensors, path, {"fomm": json.dumps(about)})
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"model.generator.num_bottleneck_blocks": 10**9}, {"model.detector.scale_factor": 1e-9},
        {"model.detector.scale_factor": 0}, {"model.dense_motion.num_blocks": 40}, {"model.num_keypoints": 10**12},
        {"model.generator.max_features": 2**31}, {"model.detector.block_expansion": -1},
        {"model.generator.block_expansion": 4096}, {"model.detector.temperature": "nan"},
        {"model.image_channels": [3]}, {"model.align_corners": 2}, {"model.detector": []}, {"model": []},
        {"architecture": []}, {"architecture": "x" * 10_000}, {"image_size": 10**12}, {"image_size": [3]},
        {"category": {}}, {"provenance": [3]}, {"provenance": {"crop_scale": 0}}, {"format_version": "1"},
    ],
    ids=str,
)  # fmt: skip
def test_no_number_of_a_checkpoint_is_built_before_it_is_looked_at(tmp_path: Path, change: dict) -> None:
    path = with_metadata(tmp_path / "a.safetensors", change)
    try:
        loaded = load_model(path)
    except InputError as error:
        assert str(error).startswith(f"{path}: ") and len(str(error)) < 2000
    else:
        assert list(change) in (["model"], ["model.detector"]), "a config that is none: sizes come from the tensors"
        assert any("its stored config cannot be used" in note for note in loaded.info.notes)


def hostile(kind: str) -> torch.Tensor:
    return {
        "expanded": lambda: torch.zeros(1).expand(200_000, 200_000),
        "meta": lambda: torch.zeros(4, 4, device="meta"),
        "float8": lambda: torch.zeros(4, 4).to(torch.float8_e4m3fn),
        "sparse": lambda: torch.zeros(4, 4).to_sparse(),
        "complex": lambda: torch.zeros(4, 4, dtype=torch.complex64),
    }[kind]()


@pytest.mark.parametrize("kind", ["expanded", "meta", "float8", "sparse", "complex"])
@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_that_are_no_numbers_are_refused(tmp_path: Path, kind: str, zipped: bool) -> None:
    path = tmp_path / "a.pth.tar"
    export_original(path, small_model())
    content = torch.load(path, weights_only=True)
    content["generator"]["final.weight"] = hostile(kind)
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="final.weight; save them as dense float32|damaged"):
        load_model(path)


def test_names_of_data_parallel_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "a.pth.tar"
    export_original(path, small_model())
    whole = load_model(path).model.state_dict()
    content = torch.load(path, weights_only=True)
    for network in ("generator", "kp_detector"):
        content[network] = {f"module.{name}": tensor for name, tensor in content[network].items()}
    torch.save(content, path)
    again = load_model(path).model.state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_a_checkpoint_inside_a_zip_is_to_be_unpacked(tmp_path: Path) -> None:
    export_original(tmp_path / "vox.pth.tar", small_model())
    with zipfile.ZipFile(tmp_path / "vox.zip", "w") as archive:
        archive.write(tmp_path / "vox.pth.tar", "vox.pth.tar")
    with pytest.raises(InputError, match=r"a zip archive that holds vox.pth.tar, not a checkpoint itself; unzip it"):
        load_model(tmp_path / "vox.zip")


def test_a_message_names_ten_and_counts_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.pth.tar"
    export_original(path, small_model())
    content = torch.load(path, weights_only=True)
    content["generator"] = {f"other.{name}": tensor for name, tensor in content["generator"].items()}
    torch.save(content, path)
    with pytest.raises(InputError, match=r"98 unexpected: (\S+, ){9}\S+ and 88 more\)") as error:
        load_model(path)
    assert len(str(error.value)) < 2500


# --------------------------------------------------------------------------------------------------------------- tables


def test_cells_that_people_open_are_no_formulas(tmp_path: Path) -> None:
    evil = "=cmd|' /C calc'!A0"
    clips = [
        replace(CLIP, clip_id=evil, identity="@ann", source_video="+1", path="-x.mp4"),
        replace(CLIP, identity="'="),
    ]
    write_manifest(tmp_path / "m.csv", clips)
    cells = [cell for row in csv.reader((tmp_path / "m.csv").open()) for cell in row]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@")]
    assert read_manifest(tmp_path / "m.csv") == clips, "and they are read as they were"
    report = example_report(identities=2, models=("puppets", "source"))
    for protocol in report["protocols"].values():
        for clip in protocol["clips"]:
            clip["identity"] = evil
    write_files(typed(report), tmp_path)
    rows = list(csv.reader((tmp_path / "per_clip.csv").open()))
    assert {row[2] for row in rows[1:]} == {f"'{evil}"} and not [
        c for row in rows for c in row if c[:1] in ("=", "+", "@")
    ]


# -------------------------------------------------------------------------------------------------------------- configs


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 5000,
        b"a: " + b"{a: " * 5000,
        b"&a [*a]",
        b"&a {b: *a}",
        b"\xff\xfe\x00random",
        b"\0\1\2",
        b"a: b: c",
        b"%",
    ],
    ids=["deep", "deeper", "itself", "itself inside", "bytes", "zeros", "wrong", "sign"],
)
def test_configs_that_nobody_wrote_are_one_line(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(text)
    for read in (read_yaml, lambda p: convert_config(p, tmp_path / "out.yaml")):
        with pytest.raises(InputError, match="c.yaml: not a readable YAML file"):
            read(path)
    with pytest.raises(InputError, match="c.yaml: not a readable YAML file"):
        train.main(["fit", "--config", str(path)])


# -------------------------------------------------------------------------------------------------- places and memory


@pytest.mark.parametrize("place", ["/proc/none/out.txt", "/dev/null/out.txt", f"/tmp/{'x' * 300}/out.txt"])
def test_a_place_that_cannot_be_is_said(place: str) -> None:
    with pytest.raises(InputError, match="cannot be written") as error, atomic_output(place):
        raise AssertionError("the work began")
    assert "free some space" not in str(error.value)


@pytest.mark.parametrize(
    "command",
    [
        "-m fomm convert puppets /proc/none/a.safetensors",
        "-m fomm export puppets /proc/none/onnx",
        "-m fomm strip fomm/assets/speaker.mp4 /proc/none/a.png",
        "-m preprocess face --source fomm/assets/portrait.png --output /proc/none",
        "evaluate.py --checkpoint source --data data_manifests/puppets.csv --output /proc/none",
        "train.py fit --config tests/tiny.yaml --trainer.logger.init_args.save_dir /proc/none --data.manifest {clips}",
    ],
)
def test_programs_say_so_in_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "{clips}" in command:
        command = command.format(clips=write_clips(tmp_path))
    program, *arguments = command.split()
    module = arguments.pop(0) if program == "-m" else None
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [module or program, *arguments])
    with pytest.raises(SystemExit) as leaving:
        if module:
            runpy.run_module(module, run_name="__main__")
        else:
            runpy.run_path(program, run_name="__main__")
    said = capsys.readouterr().err
    assert leaving.value.code == 2 and "Traceback" not in said, said
    assert said.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(), ImportError("libc10.so: failed to map segment from shared object"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        OSError(12, "Cannot allocate memory"), torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_out_of_memory_is_called_that(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as leaving:
        run(main)
    said = capsys.readouterr().err
    assert leaving.value.code == 2 and said.startswith("error: out of memory; ") and said.count("\n") == 1


def test_a_picture_that_does_not_fit_into_memory_is_said(tmp_path: Path) -> None:
    Image.new("RGB", (8000, 8000)).save(tmp_path / "a.png")
    code = (
        "import resource; from fomm.errors import run; from fomm.video import read_image\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "run(lambda: read_image('a.png'))"
    )
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    if done.returncode != 0:  # else it fitted
        assert done.returncode == 2 and "memory" in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_a_photo_is_read_no_larger_than_a_video_can_be_and_what_it_costs_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.linear_gradient("L").resize((8000, 6000)).convert("RGB").save(path)
    photo, (sentence,) = read_photo(path, video=True)
    assert 0.99 * MAX_VIDEO_PIXELS < photo.shape[0] * photo.shape[1] <= MAX_VIDEO_PIXELS
    assert "a.jpg: has 48 million pixels, more than players of video take, so 6894x5170 are made of it" in sentence
    whole, (sentence,) = read_photo(path, video=False)
    assert whole.shape == (6000, 8000, 3) and "48 million pixels, which take up to 2.2 GB of memory" in sentence
    Image.new("RGB", (400, 300)).save(path)
    photo, said = read_photo(path, video=True)
    assert photo.shape == (300, 400, 3) and not said


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK", "P", "I;16"])
def test_a_large_picture_takes_little_more_memory_than_its_pixels(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (6000, 6000)).save(path)
    code = (
        "import resource, sys; from fomm.video import read_image\n"
        "used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = used(); image = read_image(sys.argv[1]); print((used() - before) / (image.size / 3))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 9, "bytes per pixel: 3 of the result, 4 of Pillow's picture"


@pytest.mark.parametrize("field, value", [(6, 64), (8, 1), (10, 99), (10, 8), (10, 12), (10, 14)])
def test_records_that_zip_cannot_unpack_do_not_count(tmp_path: Path, field: int, value: int) -> None:
    """A later version, encrypted, packed in an unknown way, not packed as it says."""
    path = tmp_path / "0.npz"
    Record(1, {"a": {"l1": np.zeros(1)}}, {}, {}, ["face"], [(64, 64)], {}).save(path)
    assert Record.load(path) is not None
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + field] = value  # of the first file, in the directory and before it
    content[content.index(b"PK\x03\x04") + field - 2] = value
    path.write_bytes(content)
    assert Record.load(path) is None


def test_records_of_an_evaluation_that_are_lists_do_not_count(tmp_path: Path) -> None:
    for header in ("[]", "3", '{"frames": []}', '{"failed": 3}', '{"values": 3, "features": []}'):
        np.savez(tmp_path / "0.npz", header=np.array(header))
        assert Record.load(tmp_path / "0.npz") is None
