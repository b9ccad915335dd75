"""Peak memory of infer.py against the length of the driving video: it must not grow.

    python benchmarks/memory.py --seconds "[10, 600]"

Draws a puppet photo and talking puppet clips with sound, animates them with a small model of random weights (memory
beside the model's own is what matters here), each in a process of its own, and prints a table. About 10 minutes on one
core; exits with 1 where the longest clip takes over 100 MB more than the shortest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jsonargparse import auto_cli

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks.page import ratio, table
from fomm.checkpoint import save_weights
from fomm.model import FOMM, DenseMotionConfig, DetectorConfig, GeneratorConfig, ModelConfig
from fomm.video import VideoWriter, write_image
from preprocess.synthetic.puppets import draw, framing, random_identity, random_motion

FPS, RATE, LIMIT_MB = 25, 48000, 100


def small_model() -> FOMM:
    return FOMM.from_config(
        ModelConfig(
            num_keypoints=5,
            detector=DetectorConfig(block_expansion=8, max_features=32, num_blocks=3, scale_factor=0.5),
            dense_motion=DenseMotionConfig(block_expansion=8, max_features=32, num_blocks=3, scale_factor=0.5),
            generator=GeneratorConfig(block_expansion=8, max_features=32, num_down_blocks=2, num_bottleneck_blocks=1),
        )
    )


def write_clip(path: Path, seconds: int, size: int) -> None:
    """A puppet that says the same 4 seconds forwards and backwards, over a hum."""
    identity, motion = random_identity(2), random_motion(3, 4 * FPS, FPS)
    camera = framing(identity, motion, scale=1.6)
    frames = [draw(identity, pose, size, camera).image for pose in motion]
    hum = path.with_suffix(".wav")
    with av.open(str(hum), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        second = (3000 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.int16)[None]
        for index in range(seconds):
            frame = av.AudioFrame.from_ndarray(second, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, index * RATE, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with VideoWriter(path.with_name(f"silent_{path.name}"), fps=FPS) as writer:
        for index in range(seconds * FPS):
            place = index % (2 * len(frames))
            writer.write(frames[min(place, 2 * len(frames) - 1 - place)])
    _join(path.with_name(f"silent_{path.name}"), hum, path)


def _join(video: Path, sound: Path, path: Path) -> None:
    with av.open(str(video)) as pictures, av.open(str(sound)) as hum, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(pictures.streams.video[0])
        voice = out.add_stream("aac", rate=RATE)
        for packet in pictures.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
        for frame in hum.decode(audio=0):
            out.mux(voice.encode(frame))
        out.mux(voice.encode(None))


def peak_of(command: list[str]) -> tuple[float, float]:
    """Run it; peak resident memory in MB and seconds."""
    begun = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"failed: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return usage.ru_maxrss * unit / 1e6, time.monotonic() - begun


def main(seconds: list[int] = [10, 600], size: int = 192) -> None:  # noqa: B006 - jsonargparse shows the default
    """Measure.

    Args:
        seconds: lengths of driving video, shortest first.
        size: side of its frames in pixels.
    """
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_image(folder / "photo.png", draw(random_identity(1), random_motion(1, 1)[0], 320).image)
        save_weights(folder / "small.safetensors", small_model(), category="face", image_size=64)
        for length in seconds:
            write_clip(folder / "clip.mp4", length, size)
            command = f"--source {folder}/photo.png --driving {folder}/clip.mp4 --output {folder}/result.mp4"
            command += f" --checkpoint {folder}/small.safetensors --device cpu --side_by_side true"
            rows.append((length, *peak_of([sys.executable, "infer.py", *command.split()])))
    cells = [[f"{length} s", f"{length * FPS}", f"{peak:.0f} MB", f"{elapsed:.0f} s"] for length, peak, elapsed in rows]
    table(["driving", "frames", "peak memory", "time"], cells, "The whole `infer.py`, a small model.")
    ratio(f"peak memory, {rows[-1][0]} s of video against {rows[0][0]} s", rows[-1][1] / rows[0][1])
    more = rows[-1][1] - rows[0][1]
    print(f"{more:+.0f} MB from the shortest to the longest; {LIMIT_MB} MB are allowed")
    sys.exit(more > LIMIT_MB)


if __name__ == "__main__":
    auto_cli(main, as_positional=False)
