"""Small whole files of every kind that is read, from which the fuzzer makes broken ones."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
import yaml
from made_videos import make_clip, numbered
from PIL import Image
from report_example import example_report
from small_models import small_model

from fomm.checkpoint import export_original, save_weights
from fomm.evaluation.measuring import Record
from fomm.manifest import Clip, Pair, write_manifest, write_pairs
from fomm.model.face import Edit, Recording
from fomm.model.face.recording import write_motion
from fomm.video.colour import srgb_profile


def write_seeds(folder: Path) -> dict[str, list[Path]]:
    """Target (see `worker.TARGETS`) -> files that it reads without complaint."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "video": _videos(folder),
        "picture": _pictures(folder),
        "checkpoint": _checkpoints(folder),
        "record": [_record(folder / "record.npz")],
        "motion": _motions(folder),
        **_tables(folder),
    }


def _videos(folder: Path) -> list[Path]:
    times = [Fraction(index, 25) for index in range(8)]
    sound = "aac", Fraction(0), 0.4
    videos = [
        make_clip(folder / "a.mp4", times, sound=sound, rotation=(90, False, False)),
        make_clip(folder / "a.mkv", times, sound=sound),
        make_clip(folder / "a.webm", times, codec="libvpx-vp9", sound=("libopus", Fraction(0), 0.4)),
        make_clip(folder / "i.mp4", times, options={"x264-params": "interlaced=1"}),
        make_clip(folder / "h.mp4", times, codec="libx265", pix_fmt="yuv420p10le",
                  options={"x265-params": "log-level=none:transfer=smpte2084:colorprim=bt2020:colormatrix=bt2020nc"}),
        make_clip(folder / "m.avi", times, codec="mjpeg", pix_fmt="yuvj420p", clock=Fraction(1, 25)),
        make_clip(folder / "t.ts", times, sound=sound),
    ]  # fmt: skip
    with av.open(str(folder / "g.gif"), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb8"
        for index in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(index), "rgb24").reformat(format="rgb8")))
        container.mux(stream.encode(None))
    return [*videos, folder / "g.gif"]


def _pictures(folder: Path) -> list[Path]:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(numbered(5))
    about = {"exif": exif, "icc_profile": srgb_profile()}
    saved: list[tuple[str, Image.Image, dict]] = [
        ("a.png", picture.convert("RGBA"), about), ("p.png", picture.convert("P"), {}), ("a.jpg", picture, about),
        ("a.webp", picture, about), ("a.tif", picture, {"icc_profile": srgb_profile()}), ("a.bmp", picture, {}),
        ("c.jpg", picture.convert("CMYK"), {"icc_profile": srgb_profile()}), ("l.png", picture.convert("I;16"), {}),
        ("a.avif", picture, {}), ("a.gif", picture, {"save_all": True, "append_images": [picture]}),
    ]  # fmt: skip
    for name, image, options in saved:
        image.save(folder / name, **options)
    return [folder / name for name, *_ in saved]


def _checkpoints(folder: Path) -> list[Path]:
    model = small_model()
    save_weights(folder / "w.safetensors", model)
    export_original(folder / "old.pth.tar", model)
    content = torch.load(folder / "old.pth.tar", weights_only=True)
    torch.save(content, folder / "new.pth.tar")
    training = {
        "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()}, "epoch": 3,
        "fomm": {"architecture": "fomm", "category": "face", "image_size": 64}, "optimizer_states": [], "loops": {},
    }  # fmt: skip
    torch.save(training, folder / "run.ckpt")
    return [folder / name for name in ("w.safetensors", "old.pth.tar", "new.pth.tar", "run.ckpt")]


def _record(path: Path) -> Path:
    values, features = {"m": {"l1": np.ones(2)}}, {"m": np.ones((2, 2, 3), np.float32)}
    Record(2, values, features, {}, ["a"], [(64, 48)], {"a": "b"}).save(path)
    return path


def _motions(folder: Path) -> list[Path]:
    """One of edits, one of a single frame, one on a clock of its own."""
    edits = [Edit(yaw=2.0 * index, mouth=0.1 * index) for index in range(6)]
    evenly = Recording.of_edits(edits, 25)
    unevenly = replace(evenly, times=[Fraction(index**2 + index, 90_000) for index in range(6)])
    paths = [folder / f"{name}.json" for name in ("edits", "single", "unevenly")]
    for path, recording in zip(paths, (evenly, Recording.of_edits(edits[2:3], 25), unevenly), strict=True):
        write_motion(path, recording)
    return paths


def _tables(folder: Path) -> dict[str, list[Path]]:
    clip = Clip("a", "a.mp4", "ann", "test", 4, Fraction(30000, 1001), 64, 64, crop_box="0-0-9-9")
    clips = [clip, replace(clip, clip_id="b", path="b.mp4")]
    write_manifest(folder / "manifest.csv", clips)
    write_pairs(folder / "pairs.csv", [Pair("a", "b")])
    original = json.loads((Path(__file__).parents[1] / "golden" / "configs.json").read_text())["vox-adv-256"]
    texts: dict[str, str] = {
        "metadata": "video_id,start,end,bbox,fps,width,height,partition,person_id\nv,0,9,0-0-9-9,25,64,64,test,ann\n",
        "times": "0\n1/25\n0.08\n",
        "config": yaml.safe_dump(original),
        "train config": (Path(__file__).parents[1] / "tiny.yaml").read_text(),
        "report": json.dumps(example_report(identities=1, models=("puppets", "source"))),
        "settings": json.dumps({"data": {"split": "test"}, "models": {"a": "b"}}),
    }
    files = {"manifest": [folder / "manifest.csv"], "pairs": [folder / "pairs.csv"]}
    for target, text in texts.items():
        path = folder / f"{target}.txt"
        path.write_text(text)
        files[target] = [path]
    return files
