"""How fast animation is, against the original's loop, measured in this one run; and what a faster mode changes.

    python benchmarks/speed.py                              # vox-adv's networks, weights by formula: 5 minutes, 2 cores
    python benchmarks/speed.py --checkpoint puppets         # the embedded model
    python benchmarks/speed.py --parts "[whole, growth]"    # only some of the tables

The original's loop is written out below (`plain_step`): float32, one frame at a time, the source encoded again for
every frame. It and the animator at each precision take turns on every few frames (A B C A B C ..., as many frames as
are animated side by side), so that a machine whose speed wanders favours none, and ratios are taken turn by turn.
Beside the time on the clock stands the processor time of all threads: it hardly feels who else uses the machine.

Tables: `frames` (time, ratio, PSNR, share of the matrix rate that this machine shows), `cold` (a fresh process: until
the first frame, peak memory), `stages` (each alone), `whole` (infer.py's path against its slowest stage, seconds to the
first frame), `growth` (cost against frames and pixels).
"""

from __future__ import annotations

import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from jsonargparse import auto_cli
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fill import fill_model

from benchmarks.page import machine, ratio, spread, table
from fomm.animator import AnimationSettings, Animator, animated_frames
from fomm.animator.lanes import Lanes
from fomm.animator.render import render
from fomm.checkpoint import load_model, save_weights
from fomm.errors import InputError, run
from fomm.model import FOMM, ModelConfig
from fomm.model.geometry import movement_scale, transfer_motion
from fomm.video import VideoReader, VideoWriter, read_image
from preprocess.crop import Crop, Paster, crop_matrix

T = TypeVar("T")
Part = Literal["frames", "cold", "stages", "whole", "growth"]
# PyTorch's counter does not know the convolution with packed weights.
PACKED = {torch.ops.mkldnn._convolution_pointwise: lambda x, w, *_, out_shape: conv_flop_count(x, w, out_shape)}


@dataclass(frozen=True)
class Options:
    """Measure.

    Args:
        checkpoint: name or file; by default vox-adv's networks with the golden numbers' weights (tests/fill.py).
        source: a photo.
        driving: a video.
        device: cpu, cuda, mps.
        frames: that each contender animates in the first table.
        seconds: length of the clip in the table of the whole path.
        threads: for the networks; by default what PyTorch takes.
        parts: tables to make.
        growth: numbers of frames in the table of that name.
    """

    checkpoint: str | None = None
    source: Path = ROOT / "fomm/assets/portrait.png"
    driving: Path = ROOT / "fomm/assets/speaker.mp4"
    device: str = "cpu"
    frames: int = 12
    seconds: float = 10.0
    threads: int | None = None
    parts: list[Part] | None = None
    growth: list[int] = field(default_factory=lambda: [10, 40, 120])


def load(checkpoint: str) -> tuple[FOMM, int]:
    model, info = load_model(checkpoint)
    if not isinstance(model, FOMM):
        raise InputError(f"{checkpoint}: has no keypoints of its own; name a model of the paper's kind")
    return model, info.image_size


def central_crop(picture: np.ndarray, size: int) -> Crop:
    """Two thirds of the shorter side around the centre, a little turned, as faces are."""
    height, width = picture.shape[:2]
    return Crop(crop_matrix(np.array([(width - 1) / 2, (height - 1) / 2]), min(height, width) * 2 / 3, 3.0, size), size)


@dataclass(frozen=True)
class Inputs:
    """What is animated: the photo, its crop, and driving frames as the model sees them."""

    photo: np.ndarray
    crop: Crop
    source: np.ndarray
    driving: list[np.ndarray]


def read_inputs(options: Options, size: int, count: int) -> Inputs:
    photo = read_image(options.source)
    crop = central_crop(photo, size)
    frames = [frame.image for frame in islice(VideoReader(options.driving), count)]
    view = central_crop(frames[0], size)
    return Inputs(photo, crop, crop.apply(photo), [view.apply(frame) for frame in islice(cycle(frames), count)])


def plain_step(model: FOMM, source: np.ndarray, initial: np.ndarray, device: str) -> Callable[[np.ndarray], Tensor]:
    """One turn of the original's `make_animation`: all of the generator, the source's encoding included."""

    def tensor(picture: np.ndarray) -> Tensor:
        return (torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255).contiguous().to(device)

    with torch.inference_mode():
        picture = tensor(source)
        own, start = model.detect(picture), model.detect(tensor(initial))
        scale = movement_scale(own, start)

    @torch.inference_mode()
    def step(frame: np.ndarray) -> Tensor:
        moved = transfer_motion(own, model.detect(tensor(frame)), start, relative=True, scale=scale)
        motion = model.dense_motion(model.dense_motion.down(picture), own, moved)
        return model.generator.decode(model.generator.encode(picture), motion, picture)

    return step


def contenders(model: FOMM, inputs: Inputs, options: Options) -> dict[str, Callable[[np.ndarray], Tensor]]:
    """Name -> what makes a prediction (1, 3, H, W) from a frame."""
    source, first, device = inputs.source, inputs.driving[0], options.device

    def ours(animator: Animator) -> Callable[[np.ndarray], Tensor]:
        follow = animator.follower(source, first)
        return lambda frame: follow([frame]).prediction

    default = Animator(model, device=device, batch_size=1)
    others = [p for p in ("fp32", "bf16", "fp16") if p != default.precision and (p != "fp16" or device != "cpu")]
    # made in the order in which the networks are folded; the plain loop shares `model`, which that leaves as it is
    result = {"plain": plain_step(model, source, first, device), f"default ({default.precision})": ours(default)}
    return result | {p: ours(Animator(model, device=device, precision=p, batch_size=1)) for p in others}


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def matrix_rate(dtype: torch.dtype, device: str) -> float:
    """The best of 8 products of 1536 x 1536 matrices, in FLOP per second (CPU: of one core's time)."""
    side = 1536
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    clock, best = time.process_time if device == "cpu" else time.perf_counter, np.inf
    for _ in range(8):
        begun = clock()
        _ = a @ b
        synchronise(device)
        best = min(best, clock() - begun)
    return 2 * side**3 / best


def measure_frames(model: FOMM, size: int, options: Options) -> None:
    with Lanes(None if options.device == "cpu" else 1) as lanes:
        turn = lanes.count  # frames at a time: ours works on so many side by side
        inputs = read_inputs(options, size, options.frames + 2 * turn)
        made = contenders(model, inputs, options)
        clock: dict[str, list[float]] = {name: [] for name in made}
        processor: dict[str, list[float]] = {name: [] for name in made}
        predictions: dict[str, list[Tensor]] = {name: [] for name in made}
        rates: dict[torch.dtype, list[float]] = {d: [] for d in (torch.float32, torch.bfloat16)}
        for number, start in enumerate(range(0, len(inputs.driving), turn)):
            frames, names = inputs.driving[start : start + turn], list(made)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                begun, busy = time.perf_counter(), time.process_time()
                seen = list((map if name == "plain" else lanes.map)(made[name], frames))
                synchronise(options.device)
                if number >= 2:  # the first two find the caches cold
                    clock[name].append(1e3 * (time.perf_counter() - begun) / len(frames))
                    processor[name].append(1e3 * (time.process_time() - busy) / len(frames))
                    predictions[name] += [prediction.float().cpu() for prediction in seen]
            if number % 2 == 0:
                for dtype, measured in rates.items():
                    measured.append(matrix_rate(dtype, options.device))
    best = {dtype: max(seen) for dtype, seen in rates.items()}
    spent, counts, shortest = processor if options.device == "cpu" else clock, {}, {}
    for name, step in made.items():
        with FlopCounterMode(display=False, custom_mapping=PACKED) as counter:
            step(inputs.driving[0])
        counts[name] = counter.get_total_flops()
        keypoints = sum(counter.get_flop_counts()["KeypointDetector"].values())  # in float32 whatever the precision
        dtype = torch.float32 if "fp32" in name or name == "plain" else torch.bfloat16
        shortest[name] = keypoints / best[torch.float32] + (counts[name] - keypoints) / best[dtype]
    rows, each_turn = [], {}
    for name in made:
        ratios = each_turn[name] = [a / b for a, b in zip(clock["plain"], clock[name], strict=True)]
        work = [a / b for a, b in zip(processor["plain"], processor[name], strict=True)]
        pairs = zip(predictions[name], predictions["plain"], strict=True)
        noise = [(ours - theirs).square().mean().item() for ours, theirs in pairs]
        worst = max((a - b).abs().max().item() for a, b in zip(predictions[name], predictions["plain"], strict=True))
        rows.append(
            [
                name,
                spread(clock[name]),
                spread(ratios, "{:.2f}"),
                spread(processor[name]),
                f"{np.median(work):.2f}",
                "-" if not max(noise) else f"{-10 * np.log10(max(noise)):.1f}",
                f"{worst:.1e}",
                f"{counts[name] / 1e9:.1f}",
                f"{100 * shortest[name] / (np.min(spent[name]) / 1e3):.0f} %",
            ]
        )
    head = ["", "ms per frame", "times plain", "processor ms", "times plain", "PSNR, worst frame", "largest change"]
    each = " per core" if options.device == "cpu" else ""
    peaks = ", ".join(f"{str(dtype)[6:]} {rate / 1e12:.2f} TFLOP/s{each}" for dtype, rate in best.items())
    table(head + ["GFLOP done", "share of rate"], rows, f"One frame of {size}x{size}; median (min to max). {peaks}.")
    for name in list(made)[1:]:
        ratio(f"one frame, {name}, times as fast as plain", each_turn[name])


def cold(options: Options, name: str, count: int, size: int | None) -> tuple[float, ...]:
    """In a process of its own: s and processor s until the first frame is there, processor ms per frame, peak MB, and
    how many MB more it holds after the last frame than after the fourth."""
    if options.threads:
        torch.set_num_threads(options.threads)
    assert options.checkpoint is not None, "`main` makes one where none is named"
    model, own_size = load(options.checkpoint)
    inputs = read_inputs(options, size or own_size, min(count, 32))
    frames = islice(cycle(inputs.driving), count)
    stream: Iterator[Tensor | np.ndarray]
    if name == "plain":
        model.eval().to(options.device)
        begun, started = time.perf_counter(), time.process_time()
        stream = map(plain_step(model, inputs.source, inputs.driving[0], options.device), frames)
    else:
        begun, started = time.perf_counter(), time.process_time()
        stream = Animator(model, device=options.device, precision=name, batch_size=1).animate(inputs.source, frames)
        del model
    next(stream)
    first, busy = time.perf_counter() - begun, time.process_time()
    held = [memory_mb("VmRSS") for _ in stream]
    each = 1e3 * (time.process_time() - busy) / max(len(held), 1)
    return first, busy - started, each, memory_mb("VmHWM"), held[-1] - held[2]  # by the fourth all buffers are there


def memory_mb(field: Literal["VmHWM", "VmRSS"]) -> float:
    """Most memory that this process has held, or what it holds now. (Linux's rusage would count the parent's peak.)"""
    try:
        status = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith(field)) * 1024 / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: the peak alone, in bytes


def in_fresh_process(*arguments: object) -> tuple[float, ...]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(cold, arguments)


def measure_cold(model: FOMM, size: int, options: Options) -> None:
    rows = []
    for name in ("plain", "auto", "fp32", "bf16"):
        first, busy, _, peak, _ = in_fresh_process(options, name, 4, None)
        rows.append([name, f"{first:.2f}", f"{busy:.2f}", f"{peak:.0f}"])
    head = ["", "s to the first frame", "processor s", "peak MB"]
    table(head, rows, "A fresh process with the weights loaded, from the picture on.")


def measure_growth(model: FOMM, size: int, options: Options) -> None:
    rows = []
    for count in options.growth:
        *_, each, peak, more = in_fresh_process(options, "auto", count, None)
        rows.append([str(count), f"{each:.0f}", f"{peak:.0f}", f"{more:+.0f}"])
    head = ["frames", "processor ms per frame", "peak MB", "MB from the fourth to the last"]
    table(head, rows, "Against the number of frames, at the default.")
    rows = []
    for side in (size, size * 3 // 2, size * 2):
        *_, each, peak, _ = in_fresh_process(options, "auto", 6, side)
        rows.append([f"{side}x{side}", f"{each:.0f}", f"{1e6 * each / side**2:.2f}", f"{peak:.0f}"])
    head = ["pixels", "processor ms per frame", "ns per pixel", "peak MB"]
    table(head, rows, "Against the number of pixels, at the default.")


def stage_times(model: FOMM, size: int, options: Options, count: int = 24) -> dict[str, list[float]]:
    """ms of each stage for each frame, one stage after another; on a CPU of processor time."""
    animator = Animator(model, device=options.device, batch_size=1)
    inputs = read_inputs(options, size, 2)
    paste = Paster(inputs.photo, inputs.crop)
    encoded = animator.encode(inputs.source)
    times: dict[str, list[float]] = {}
    clock = time.process_time if options.device == "cpu" else time.perf_counter

    def timed(stage: str, work: Callable[..., T], *arguments: object) -> T:
        begun = clock()
        result = work(*arguments)
        synchronise(options.device)
        times.setdefault(stage, []).append(1e3 * (clock() - begun))
        return result

    reader, networks = iter(VideoReader(options.driving, threads=1)), animator.networks
    view, pasted = None, []
    for _ in range(count):
        frame = timed("decode", next, reader)
        view = view or central_crop(frame.image, size)
        seen = timed("crop", view.apply, frame.image)
        keypoints = timed("keypoints", animator.detect, [seen])
        with torch.inference_mode():
            motion = timed("motion", networks.dense_motion, encoded.small, encoded.keypoints, keypoints)
            arguments = encoded.features, motion, encoded.image
            prediction = timed("generator", networks.generator.decode, *arguments)
        pasted.append(timed("paste", paste, (prediction[0].permute(1, 2, 0) * 255).round().byte().cpu().numpy()))
    with tempfile.TemporaryDirectory() as folder:
        begun = clock()
        with VideoWriter(Path(folder) / "clip.mp4", fps=25, threads=1) as writer:
            for picture in pasted:
                writer.write(picture)
        # the encoder looks ahead: only the sum over all frames means anything
        times["encode"] = 3 * [1e3 * (clock() - begun) / count]
    return {stage: values[2:] for stage, values in times.items()}


def measure_stages(model: FOMM, size: int, options: Options) -> None:
    times = stage_times(model, size, options)
    total = sum(np.median(values) for values in times.values())
    rows = [[s, spread(v, "{:.1f}"), f"{100 * np.median(v) / total:.0f} %"] for s, v in times.items()]
    photo, frame = read_image(options.source).shape, VideoReader(options.driving)
    title = f"Each stage alone, at the default; photo {photo[1]}x{photo[0]}, video {frame.width}x{frame.height}."
    unit = "processor ms per frame" if options.device == "cpu" else "ms per frame"
    table(["stage", unit, "share"], rows, title)


def loop_of(path: Path, seconds: float, folder: Path) -> Path:
    """The clip, repeated to that length."""
    reader, target = VideoReader(path), folder / "driving.mp4"
    frames = [frame.image for frame in reader]
    with VideoWriter(target, fps=reader.fps) as writer:
        for image in islice(cycle(frames + frames[::-1]), round(seconds * float(reader.fps or 25))):
            writer.write(image)
    return target


def measure_whole(model: FOMM, size: int, options: Options) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = loop_of(options.driving, options.seconds, folder)
        reader, photo = VideoReader(clip), read_image(options.source)
        crop, animator = central_crop(photo, size), Animator(model, device=options.device)
        source, frames = crop.apply(photo), [frame.image for frame in reader]
        view = central_crop(frames[0], size).apply
        list(animator.animate(source, [view(frames[0])]))
        # The slowest stage alone and all stages together take turns on slices of the clip.
        times: dict[str, list[float]] = {"inference alone": [], "whole path": []}
        step = -(-len(frames) // 3)
        for start in range(0, len(frames), step):
            views = [view(frame) for frame in frames[start : start + step]]
            begun = time.perf_counter()
            for _ in animator.animate(source, views):
                pass
            times["inference alone"].append(time.perf_counter() - begun)
            part = reader.frames(start, start + step)
            next_frame = next(part)  # what stands before the slice is decoded outside the clock
            begun = time.perf_counter()
            settings = AnimationSettings(audio=False)
            stream = animated_frames(partial(animator.animate, source), _chained(next_frame, part), view)
            with closing(stream):
                paste = Paster(photo, crop)
                render(
                    stream,
                    folder / "result.mp4",
                    settings,
                    fps=reader.fps,
                    time_base=reader.time_base,
                    sound=reader,
                    paste=paste,
                )
            times["whole path"].append(time.perf_counter() - begun)
        ratios = [a / b for a, b in zip(times["whole path"], times["inference alone"], strict=True)]
        rows = [[name, f"{sum(v):.1f}", f"{len(frames) / sum(v):.1f}"] for name, v in times.items()]
        title = f"{options.seconds:g} s of video ({len(frames)} frames): whole / slowest {spread(ratios, '{:.2f}')}."
        table(["", "s", "frames per s"], rows, title)
        ratio("the whole path against inference alone, times as long", ratios)
        print(f"\ninfer.py, from its start: {first_frame(folder, clip, options)}")


def _chained(first: object, rest: Iterable) -> Iterator:
    yield first
    yield from rest


FIRST_FRAME = """
import sys, time
begun = float(sys.argv.pop(1))
import infer
from studio.animation import animate_files, load_tools
from contextlib import ExitStack
stages = {}
def progress(stage, done, total):
    if done:
        stages.setdefault(stage, (time.time() - begun, time.process_time()))
    if done and stage == "animate":  # the first frame is there: enough
        said = [f"{name} {clock:.1f} s ({busy:.1f} s processor)" for name, (clock, busy) in stages.items()]
        print("; ".join(said))
        raise SystemExit
options = infer.parse()
with ExitStack() as stack:
    tools = load_tools(options, options, stack, print)
    progress("tools loaded", 1, 1)
    animate_files(options.source, options.driving, options.output, options, tools, progress=progress)
"""


def first_frame(folder: Path, clip: Path, options: Options) -> str:
    """Seconds from the start of infer.py to the first of each stage, up to the first result, on the second run."""
    command = [
        f"--source={options.source}", f"--driving={options.driving}", f"--output={folder / 'first.mp4'}",
        f"--checkpoint={options.checkpoint}", f"--device={options.device}",
    ]  # fmt: skip
    for _ in range(2):
        arguments = [sys.executable, "-c", FIRST_FRAME, str(time.time()), *command]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            return f"failed: {done.stderr.strip().splitlines()[-1]}"
    return done.stdout.strip().splitlines()[-1]


def main(options: Options = Options()) -> None:  # noqa: B008 - frozen
    if options.threads:
        torch.set_num_threads(options.threads)
    print("\n".join(machine()), file=sys.stderr)
    print(f"{torch.get_num_threads()} threads; device {options.device}.")
    measures = {
        "frames": measure_frames,
        "cold": measure_cold,
        "stages": measure_stages,
        "whole": measure_whole,
        "growth": measure_growth,
    }
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = options.checkpoint
        if checkpoint is None:
            checkpoint = f"{folder}/formula.safetensors"
            model = FOMM.from_config(ModelConfig())
            fill_model(model)
            save_weights(Path(checkpoint), model, category="face", image_size=256)
            options = replace(options, checkpoint=checkpoint)
        model, size = load(checkpoint)
        model.eval().to(options.device)
        for part in options.parts or measures:
            measures[part](model, size, options)


if __name__ == "__main__":
    run(lambda: main(auto_cli(Options, as_positional=False)))
