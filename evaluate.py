"""The script that measures checkpoints on a set of clips and writes a report that others can reproduce.

What is measured and how: `fomm.evaluation` (protocols, the run), `fomm.metrics` (definitions), `fomm.results`
(averages and intervals), `fomm.report` (the pages). This file puts them together with what finds faces and with what
the drawn data sets know. Everything heavy is imported where it is used, so that `--help` answers at once; for the same
reason annotations are not postponed (see infer.py).
"""

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zipfile import BadZipFile

from fomm import command_line
from fomm.errors import InputError, run
from fomm.files import atomic_output, hash_file
from fomm.gate import Gate
from fomm.pretrained.features import load_inception, load_lpips
from fomm.progress import Bars, silent

if TYPE_CHECKING:
    import numpy as np
    from lightning_fabric import Fabric

    from fomm.evaluation import Contender, Features, Task, Truth
    from fomm.manifest import Clip, Pair
    from fomm.measures import Detector, Measure
    from fomm.metrics import MetricInfo

USAGE = "python evaluate.py --checkpoint mine.ckpt [more ...] --baseline vox-adv --data manifest.csv --output report/"
DESCRIPTION = """Measures checkpoints on the same clips and writes report.html, report.md, report.json and per_clip.csv.
A killed run goes on with the next clip when it is started again. Exit code 1: the condition of --fail-if holds."""
LISTS = ("checkpoint", "face_networks")
TRUTH = {
    "landmarks_px",
    "poses",
    "pose_names",
    "camera",
    "identity",
}  # what preprocess.synthetic.puppets.load_truth gives
PEOPLE = 8  # among whom identity_truth has to find the right one; drawing them takes longer than anything else
MAX_WARNINGS = 20  # of rows that are left out; the rest is counted
SOURCE_NOTES = (
    "repeats the source picture; no network",
    "the first frame of the truth can be the source picture itself (in reconstruction it always is): it counts as the "
    "greatest PSNR there is and lifts that mean",
)
# Whoever changes one of these begins anew: records of different code do not mix.
CODE = ("metrics.py", "measures.py", "pretrained/embedders.py", "evaluation.py", "animator.py", "folded.py")
PACKAGES = ("fomm", "torch", "torchmetrics", "numpy", "opencv-python", "mediapipe", "onnxruntime", "av")


@dataclass(frozen=True)
class Options:
    """Measure checkpoints on a set of clips.

    Args:
        checkpoint: known names (vox-adv, puppets, ...) or files, one or more; `source` repeats the source picture.
        data: manifest of the clips, or its folder.
        output: folder of the report; also keeps the records with which a killed run goes on.
        baseline: the checkpoint that the others are compared with, clip by clip; `source` is possible too.
        pairs: CSV file with the columns source, driving, truth (clip ids; truth may be empty): who animates whom.
        split: the clips to measure on.
        face_networks: identity networks of your own, TorchScript or ONNX files.
        device: auto, cpu, cuda, cuda:1 or mps; always float32 without TF32.
        devices: processes on this machine, each with its own GPU where there are any. Default: 1, or what torchrun
            says.
        nodes: machines, on each of which it is started (or by torchrun, or srun); all need to see the output folder.
        wandb: log tables and clips to this W&B project.
        fail_if: a condition such as "akd_mediapipe > 1.05 * baseline"; where it holds, the exit code is 1. A metric may
            be preceded by a protocol and followed by a number of the summary: "reconstruction.l1.clip_mean > 0.05".
    """

    checkpoint: list[str]
    data: str
    output: str
    baseline: str | None = None
    pairs: str | None = None
    split: Literal["train", "val", "test"] = "test"
    face_networks: list[str] = field(default_factory=list)
    device: str = "auto"
    devices: int | None = None
    nodes: int = 1
    wandb: str | None = None
    fail_if: str | None = None


# ------------------------------------------------------------------------------------------------------- what is there


@dataclass(frozen=True)
class Data:
    """The clips that are measured on, and what is to be said about them."""

    manifest: Path
    clips: "list[Clip]"
    pairs: "list[Pair]"
    described: dict[str, Any]  # as the report has it


def read_data(options: Options) -> Data:
    """Read and check the lists; faulty rows are left out and told.

    Raises:
        InputError: no list, not one, or no clip in it to measure on.
    """
    from fomm.evaluation import is_lossless
    from fomm.manifest import SPLITS, manifest_hash, read_manifest, read_pairs, select, split_overlap

    manifest, warnings = Path(options.data), []
    if manifest.is_dir():
        from fomm.video_folder import manifest_of_folder

        manifest = manifest_of_folder(manifest)
    everything = read_manifest(manifest, on_fault=warnings.append)
    clips = select(everything, options.split)
    if not clips:
        counts = ", ".join(f"{split} {len(select(everything, split))}" for split in SPLITS)
        raise InputError(f"{manifest}: no clip has split {options.split!r} (clips: {counts}); give another --split")
    pairs = read_pairs(options.pairs, clips, on_fault=warnings.append) if options.pairs else []
    if len(warnings) > MAX_WARNINGS:
        warnings = [*warnings[:MAX_WARNINGS], f"{len(warnings) - MAX_WARNINGS} more rows are left out"]
    if options.pairs and not pairs:
        told = f" ({warnings[-1]})" if warnings else ""
        raise InputError(f"{options.pairs}: no pair of clips of split {options.split!r}{told}; correct its rows")
    paths = [manifest.parent / clip.path for clip in clips]
    lossless = all(is_lossless(path) for path in paths if path.exists())  # what is missing is a failure of its own
    if not lossless:
        warnings.append(
            "not all clips are lossless frames (PNG folders): pixels are compared with what a video codec left of the "
            "truth, which changes the numbers; compare only with reports on the same files"
        )
    overlap = split_overlap(everything, options.split)
    described = {
        "manifest": options.data,
        "manifest_sha256": manifest_hash(manifest),
        "pairs": options.pairs,
        "pairs_sha256": manifest_hash(options.pairs) if options.pairs else None,
        "split": options.split,
        "clips": len(clips),
        "identities": len({clip.identity for clip in clips}),
        "lossless": lossless,
        "split_overlap": overlap,
        "warnings": warnings,
    }
    return Data(manifest, clips, pairs, described)


def load_contenders(options: Options) -> "list[Contender]":
    """The checkpoints, loaded, on the CPU; the baseline last.

    Raises:
        InputError: one cannot be loaded, or is named twice.
    """
    from fomm.animator import Animator
    from fomm.checkpoint import load_model
    from fomm.evaluation import SOURCE, Contender

    sources = [*options.checkpoint, *([options.baseline] if options.baseline else [])]
    twice = sorted({source for source in sources if sources.count(source) > 1})
    if twice:
        raise InputError(f"--checkpoint, --baseline: {', '.join(twice)} is named twice; name each once")
    contenders = []
    for name, source in zip(name_apart(sources), sources, strict=True):
        role = "baseline" if source == options.baseline else "candidate"
        if source == SOURCE:
            contenders.append(Contender(name, role, category="", notes=SOURCE_NOTES))
            continue
        model, info = load_model(source)
        contenders.append(
            Contender(
                name,
                role,
                Animator(model, device="cpu", precision="fp32"),
                checkpoint=str(source),
                sha256=info.sha256,
                image_size=info.image_size,
                num_keypoints=model.config.num_keypoints,
                category=info.category,
                notes=info.notes,
            )
        )
    return contenders


def name_apart(sources: Sequence[str]) -> list[str]:
    """Short names: of files as much of the path as tells them apart, without suffix.

    >>> name_apart(["vox-adv", "a/last.ckpt", "b/last.ckpt", "x.pth.tar"])
    ['vox-adv', 'a/last', 'b/last', 'x']
    """
    parts = [Path(source.removesuffix(".pth.tar") if source.endswith(".pth.tar") else source) for source in sources]
    whole = [path.with_suffix("").parts if path.suffix in (".ckpt", ".safetensors", ".pt", ".pth") else path.parts
             for path in parts]  # fmt: skip
    taken = [1] * len(sources)
    while True:
        names = ["/".join(path[-count:]) for path, count in zip(whole, taken, strict=True)]
        longer = [i for i, n in enumerate(names) if names.count(n) > 1 and taken[i] < len(whole[i])]
        if not longer:
            return names if len(set(names)) == len(names) else list(sources)
        for i in longer:
            taken[i] += 1


def notes_on(contender: "Contender", others: "Sequence[Contender]", size: int) -> tuple[str, ...]:
    """What a reader of the comparison should know about a contender."""
    notes = list(contender.notes)
    if contender.image_size not in (None, size):
        own = f"{contender.image_size}x{contender.image_size}"
        notes.append(f"sees frames of {own}; what it makes of them is resized to {size}x{size} for comparing")
    counts = {other.num_keypoints for other in others} - {None, contender.num_keypoints}
    if contender.num_keypoints is not None and counts:
        listed = ", ".join(map(str, sorted(counts)))
        notes.append(
            f"has {contender.num_keypoints} keypoints, others have {listed}: the error of its own keypoints cannot be "
            "compared with theirs"
        )
    return tuple(notes)


@dataclass
class Instruments:
    """What measures, what the numbers mean, and what could not be measured."""

    measures: "list[Measure]"
    infos: "dict[str, MetricInfo]"
    features: "Features | None"
    not_computed: list[dict[str, str]]


def load_instruments(options: Options, device: Any, faces: bool, stack: ExitStack) -> Instruments:
    """Everything that can be measured here. Missing or damaged weights are told in the report, never replaced.

    Args:
        options: of which `face_networks`.
        device: where networks run.
        faces: whether the models animate faces.
        stack: closes the face finder.

    Raises:
        InputError: one of the user's networks cannot be used, or has the name of another metric.
    """
    from fomm import measures
    from fomm.metrics import METRICS, custom_identity
    from fomm.pretrained.embedders import load_embedder
    from fomm.pretrained.face_alignment import FaceAlignmentLandmarks

    infos, missing = dict(METRICS), []
    made: list[Measure] = [measures.Pixels(), measures.OwnKeypoints(), measures.IdentityTruth()]

    def attempt(name: str, make: Callable[[], Any]) -> Any | None:
        try:
            return make()
        except InputError as error:
            reason, _, how = str(error).rpartition("; ")  # all our errors end with what to do
            missing.append({"metric": name, "reason": reason or how, "how": how})
            return None

    def add(name: str, make: "Callable[[], Measure]") -> None:
        measure = attempt(name, make)
        if measure is not None:
            made.append(measure)

    add("lpips", lambda: measures.Lpips(load_lpips(device)))
    features = attempt("fid", lambda: load_inception(device))
    mesh = None
    if faces:
        mesh = face_mesh(stack)
        made += [cls(mesh) for cls in (measures.FacePixels, measures.Akd, measures.AkdTruth)]
        made += [cls(mesh) for cls in (measures.Jitter, measures.HeadPose)]
        add(
            "akd_face_alignment",
            lambda: measures.Akd(measures.Detector("face_alignment", FaceAlignmentLandmarks(device, flip_input=False))),
        )
        add("aed_openface", lambda: measures.Aed(load_embedder("openface", device)))
        add("csim_arcface", lambda: measures.Similarity(load_embedder("arcface"), mesh))
    for source in options.face_networks:
        embedder = load_embedder(source, device)
        name, stem = embedder.metric, embedder.metric.removeprefix("identity_")
        if name in infos:
            raise InputError(f"--face_networks {source}: there is another metric {name}; give the file another name")
        infos[name] = custom_identity(stem, str(embedder.convention), embedder.sha256, aligned=embedder.aligned)
        if mesh or not embedder.aligned:
            made.append(measures.Similarity(embedder, mesh))
    return Instruments(made, infos, features, missing)


def face_mesh(stack: ExitStack) -> "Detector":
    """MediaPipe's mesh of the largest face, as the measures want it."""
    from fomm.measures import Detector
    from preprocess.faces import Face, FaceFinder

    finder = stack.enter_context(FaceFinder())

    def look(picture: "np.ndarray") -> Face | None:
        faces = finder.find(picture, thorough=False)
        return faces[0] if faces else None

    return Detector(
        "mediapipe",
        look,
        landmarks=lambda face: face.landmarks_px,
        angles=lambda face: (face.yaw_deg, face.pitch_deg, face.roll_deg),
    )


class PuppetTruth:
    """What drawn data sets know exactly: landmarks, and how each known person would look in the same pose.

    Args:
        folder: of the manifest.
        clips: whose identities are known.
    """

    def __init__(self, folder: Path, clips: "Iterable[Clip]") -> None:
        self._folder = folder
        self._seen_in: dict[str, Clip] = {}
        for clip in clips:
            if self._file(clip).is_file():
                self._seen_in.setdefault(clip.identity, clip)

    def __call__(self, task: "Task", start: int, stop: int, size: int) -> "Truth":
        from fomm.evaluation import Truth

        clip = task.truth
        if clip is None or not self._file(clip).is_file():
            return Truth()
        truth = self._load(clip, stop)
        side = min(clip.width, clip.height)
        corner = ((clip.width - side) // 2, (clip.height - side) // 2)
        landmarks = (truth["landmarks_px"][start:stop] - corner + 0.5) * (size / side) - 0.5
        known = task.source.identity in self._seen_in and clip.width == clip.height
        return Truth(
            landmarks, (lambda: self._portraits(clip, task.source.identity, start, stop, size)) if known else None
        )

    def _portraits(self, clip: "Clip", identity: str, start: int, stop: int, size: int) -> "dict[str, np.ndarray]":
        import numpy as np

        from preprocess.synthetic.puppets import Camera, Pose, draw, random_identity

        truth = self._load(clip)
        camera = Camera(*truth["camera"])
        names = [str(name) for name in truth["pose_names"]]
        poses = [Pose(**dict(zip(names, row, strict=True))) for row in truth["poses"][start:stop]]
        people = sorted(self._seen_in)
        first = people.index(identity)
        drawn = {}
        for name in [people[(first + i) % len(people)] for i in range(min(PEOPLE, len(people)))]:
            person = random_identity(int(self._load(self._seen_in[name])["identity"]))
            drawn[name] = np.stack([draw(person, pose, size, camera).image for pose in poses])
        return drawn

    def _file(self, clip: "Clip") -> Path:
        return self._folder / f"{clip.path}.npz"

    def _load(self, clip: "Clip", frames: int = 0) -> dict[str, Any]:
        from preprocess.synthetic.puppets import load_truth

        try:
            truth = load_truth(self._folder / clip.path)
            if min(len(truth["landmarks_px"]), len(truth["poses"])) >= frames and truth.keys() >= TRUTH:
                return truth
        except (OSError, ValueError, KeyError, BadZipFile):
            pass
        raise InputError(
            f"{self._file(clip)}: is not the truth of {clip.path}; draw the clip again, or remove the file"
        )


# ----------------------------------------------------------------------------------------------------------------- run


def evaluate(options: Options) -> dict[str, Any] | None:
    """Measure, and write the report.

    Returns: the report; None on processes other than the first.

    Raises:
        InputError: it cannot be done. Faulty clips are part of the report instead.
    """
    begun = time.monotonic()
    gate = Gate(options.fail_if) if options.fail_if is not None else None
    if not options.checkpoint:
        raise InputError("--checkpoint: names nothing; name a checkpoint, such as puppets, or a file")
    if not options.output.strip():
        raise InputError("--output: is empty; name a folder for the report")
    data = read_data(options)
    contenders = load_contenders(options)
    if gate and gate.needs_baseline and not options.baseline:
        raise InputError(f"--fail-if {options.fail_if!r}: compares with a baseline; give one with --baseline")
    fabric = launch(options)
    bars = Bars()
    with ExitStack() as stack:
        stack.callback(bars.close)
        report = _evaluate(options, data, contenders, gate, fabric, bars if fabric.is_global_zero else silent, stack)
    if report is None:
        return None
    report["run"]["elapsed_s"] = round(time.monotonic() - begun, 1)
    write(report, Path(options.output))
    if options.wandb:
        log_to_wandb(report, Path(options.output), options.wandb)
    return report


def launch(options: Options) -> "Fabric":
    """Processes, as Lightning starts them or as torchrun or a cluster has started them already.

    Raises:
        InputError: no such device, or not so many.
    """
    import torch
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    from fomm.animator import choose_device

    if options.nodes < 1 or (options.devices is not None and options.devices < 1):
        raise InputError(f"--devices {options.devices} --nodes {options.nodes}: must be at least 1")
    device = choose_device(options.device)
    devices = options.devices or int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = max(options.nodes, int(os.environ.get("GROUP_WORLD_SIZE", 1)))
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise InputError(f"--devices {devices}: there are {torch.cuda.device_count()} CUDA devices here; give fewer")
    several = devices * nodes > 1
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True  # equal runs give equal numbers
    fabric = Fabric(
        accelerator=device.type,
        devices=devices if several or device.index is None else [device.index],
        num_nodes=nodes,
        # Nobody waits for a gradient here, but at the end for the slowest process.
        strategy=DDPStrategy(timeout=timedelta(days=7)) if several else "auto",
    )
    fabric.launch()
    return fabric


def _evaluate(
    options: Options,
    data: Data,
    contenders: "list[Contender]",
    gate: Gate | None,
    fabric: "Fabric",
    progress: Any,
    stack: ExitStack,
) -> dict[str, Any] | None:
    import torch

    from fomm import statistics
    from fomm.animator import Animator
    from fomm.evaluation import check_records, common_size, list_tasks, measure_task, run_tasks
    from fomm.report import SCHEMA
    from fomm.results import collect

    device = "mps" if fabric.device.type == "mps" else str(fabric.device)
    size = common_size(contenders)
    contenders = [
        replace(
            contender,
            animator=contender.animator and Animator(contender.animator.model, device=device, precision="fp32"),
            notes=notes_on(contender, contenders, size),
        )
        for contender in contenders
    ]
    faces = any(contender.category in ("face", "unknown") for contender in contenders)
    instruments = load_instruments(options, fabric.device, faces, stack)
    if gate:
        gate.check(instruments.infos, [row["metric"] for row in instruments.not_computed])

    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    names = sorted({name for measure in instruments.measures for name in measure.names})
    output, started = Path(options.output), time.time()
    records = output / "records"
    check_records(
        records,
        {
            "data": {key: data.described[key] for key in ("manifest_sha256", "pairs_sha256", "split")},
            "models": {contender.name: contender.sha256 for contender in contenders},
            "metrics": names + (["fid"] if instruments.features else []),
            "face_networks": {source: hash_file(source) for source in options.face_networks},
            "size": size,
            "device": fabric.device.type,
            "versions": versions | {name: hash_file(Path(statistics.__file__).parent / name) for name in CODE},
        },
    )
    tasks = list_tasks(data.clips, data.pairs)
    folder = data.manifest.parent
    truth_of = PuppetTruth(folder, data.clips)

    def measure(task: "Task", tell: Callable[[int], None]) -> Any:
        return measure_task(
            task,
            folder,
            contenders,
            instruments.measures,
            size=size,
            features=instruments.features,
            truth_of=truth_of,
            progress=tell,
        )

    resumed = run_tasks(tasks, records, measure, rank=fabric.global_rank, world=fabric.world_size, progress=progress)
    resumed = int(fabric.all_reduce(torch.tensor(resumed, device=fabric.device), reduce_op="sum"))
    fabric.barrier()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # from here on the first process is alone, and FID must know it
    if not fabric.is_global_zero:
        return None
    remove_leftovers((records, output, output / "media"), before=started)

    results = collect(tasks, records, [c.name for c in contenders], instruments.infos, baseline_of(contenders), size)
    computed = [m for m in instruments.infos if any(m in p["summary"] for p in results.protocols.values())]
    for protocol in results.protocols:
        show(protocol, results.protocols[protocol], tasks, folder, contenders, size, instruments.infos, output)
    return {
        "schema": SCHEMA,
        "run": {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "elapsed_s": 0.0,
            "command": ["python", *sys.argv],
            "hardware": hardware(fabric),
            "clips_from_before": resumed,
        },
        "settings": {
            "baseline": baseline_of(contenders),
            "fail_if": options.fail_if,
            "face_networks": list(options.face_networks),
            "precision": "float32",
            "interval": f"bootstrap over identities, {statistics.LEVEL:.0%}, {statistics.DRAWS} draws",
            "seed": statistics.SEED,
            "people_to_tell_apart": PEOPLE,
        },
        "versions": versions,
        "data": data.described
        | {"frames": results.frames, "size": [size, size], "warnings": data.described["warnings"] + results.notes},
        "models": [contender.described() for contender in contenders],
        "metrics": {name: described(instruments.infos[name]) for name in computed},
        "not_computed": instruments.not_computed + why_not(instruments, computed, faces),
        "protocols": results.protocols,
        "failures": results.failures,
    }


def remove_leftovers(folders: Iterable[Path], before: float) -> None:
    """Remove unfinished files of processes that were killed; newer ones belong to somebody who is still writing."""
    for folder in folders:
        for part in folder.glob(".????????.part*"):
            with suppress(OSError):
                if part.stat().st_mtime < before:
                    part.unlink()


def baseline_of(contenders: "Iterable[Contender]") -> str | None:
    """Name of the one that the others are compared with."""
    return next((contender.name for contender in contenders if contender.role == "baseline"), None)


def why_not(instruments: Instruments, computed: Sequence[str], faces: bool) -> list[dict[str, str]]:
    """Metrics that no clip has, beyond those whose weights are missing."""
    told = {*computed, *(row["metric"] for row in instruments.not_computed)}
    nothing = ("no clip could be measured", "see the failures")
    no_face = nothing if faces else ("no face was looked for", "evaluate a model of faces")
    reasons = {
        "exact": (
            "the data set has no exact landmarks and identities",
            "`python -m preprocess puppet_pairs` draws one",
        ),
        "mesh": no_face,
        "face": no_face,
        "model": ("no model with keypoints of its own could be measured", "give a --checkpoint"),
    }
    rows = []
    for name, info in instruments.infos.items():
        if name not in told:
            need = next((need for need in ("exact", "model", "mesh", "face") if need in info.needs), "")
            reason, how = reasons.get(need, nothing)
            rows.append({"metric": name, "reason": reason, "how": how})
    return rows


def described(info: "MetricInfo") -> dict[str, str]:
    """A metric as the report explains it."""
    return {name: getattr(info, name) for name in ("label", "unit", "better", "definition", "source")}


def hardware(fabric: "Fabric") -> dict[str, Any]:
    """What it ran on."""
    import torch

    cuda = fabric.device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(fabric.device) if cuda else fabric.device.type,
        "processes": fabric.world_size,
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
    }


def show(
    name: str,
    protocol: dict[str, Any],
    tasks: "Sequence[Task]",
    folder: Path,
    contenders: "Sequence[Contender]",
    size: int,
    infos: "Mapping[str, MetricInfo]",
    output: Path,
) -> None:
    """Write the videos of a protocol's gallery and enter them."""
    from fomm.gallery import choose_shown, write_shown

    by_name = {task.name: task for task in tasks if task.protocol == name}
    models = [contender for contender in contenders if contender.animator]  # the source is in every video anyway
    for kind, clip, metric in choose_shown(protocol, models[0].name, infos) if models else []:
        media = f"media/{name}_{kind}.mp4"
        columns = write_shown(by_name[clip], folder, models, size, output / media)
        protocol["gallery"].append({"kind": kind, "clip": clip, "metric": metric, "media": media, "columns": columns})


def write(report: Mapping[str, Any], output: Path) -> None:
    """report.json, per_clip.csv, and the pages made of them."""
    import csv

    from fomm.report import write_report

    with atomic_output(output / "report.json") as part:
        part.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with atomic_output(output / "per_clip.csv") as part, open(part, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(PER_CLIP)
        writer.writerows(per_clip(report))
    write_report(output)


PER_CLIP = ("protocol", "clip", "identity", "model", "metric", "mean", "frames", "missed")


def per_clip(report: Mapping[str, Any]) -> list[tuple]:
    """Rows of per_clip.csv: a mean for each clip, model and metric; empty where every frame was missed."""
    return [
        (protocol, clip["clip"], clip["identity"], model, metric, value["mean"], value["frames"], value["missed"])
        for protocol, results in report["protocols"].items()
        for clip in results["clips"]
        for metric, by_model in clip["values"].items()
        for model, value in by_model.items()
    ]


def log_to_wandb(report: Mapping[str, Any], output: Path, project: str) -> None:
    """The report's tables and clips, as one run of a W&B project (`WANDB_MODE=offline` keeps it here)."""
    import wandb

    config = {key: report[key] for key in ("settings", "versions", "data", "models")}
    with wandb.init(project=project, job_type="evaluate", dir=output, config=config) as session:
        logged: dict[str, Any] = {"per_clip": wandb.Table(list(PER_CLIP), [list(row) for row in per_clip(report)])}
        for protocol, results in report["protocols"].items():
            for table in ("summary", "differences"):
                rows = [
                    {"metric": metric, "model": model} | {key: _flat(value) for key, value in numbers.items()}
                    for metric, by_model in results[table].items()
                    for model, numbers in by_model.items()
                ]
                if rows:
                    logged[f"{protocol}/{table}"] = wandb.Table(list(rows[0]), [list(row.values()) for row in rows])
            for item in results["gallery"]:
                caption = f"{item['clip']}: {', '.join(item['columns'])}"
                logged[f"{protocol}/{item['kind']}"] = wandb.Video(str(output / item["media"]), caption=caption)
        session.log(logged)
        session.summary.update(
            {
                f"{protocol}/{metric}/{model}": numbers["pooled"]
                for protocol, results in report["protocols"].items()
                for metric, by_model in results["summary"].items()
                for model, numbers in by_model.items()
            }
        )


def _flat(value: Any) -> Any:
    return " to ".join(f"{end:.6g}" for end in value) if isinstance(value, list) else value


# -------------------------------------------------------------------------------------------------- the command line


def parse(arguments: list[str] | None = None) -> Options:
    """Options from the command line, whose schema is the signature of `Options`.

    Raises:
        InputError: unknown, missing or wrong options, on one line.
    """
    arguments = gathered(sys.argv[1:] if arguments is None else arguments)
    return command_line.parse(Options, "evaluate.py", arguments, usage=USAGE, description=DESCRIPTION)


def gathered(arguments: Sequence[str]) -> list[str]:
    """Several values after one option become a list, and --fail-if is --fail_if.

    >>> gathered(["--checkpoint", "a", "b", "--fail-if", "l1 > 1"])
    ['--checkpoint=["a", "b"]', '--fail_if', 'l1 > 1']
    """
    result: list[str] = []
    values: list[str] | None = None
    for argument in [*arguments, "--"]:
        if argument.startswith("--"):
            if values is not None:
                result[-1] += f"={json.dumps(values)}"
                values = None
            name, equals, value = argument.partition("=")
            name = name.replace("-", "_").replace("__", "--", 1)
            result.append(name + equals + value)
            if name[2:] in LISTS:
                values = [value] if equals else []
                result[-1] = name
        elif values is not None:
            values.append(argument)
        else:
            result.append(argument)
    return result[:-1]


def main() -> None:
    options = parse()
    report = evaluate(options)
    if report is None:
        return
    from fomm.report import terminal_table

    print(terminal_table(report))
    print(f"wrote {Path(options.output) / 'report.html'} ({report['run']['elapsed_s']:.0f} s)")
    failures = Gate(options.fail_if).failures(report) if options.fail_if is not None else []
    for line in failures:
        print(f"gate failed: {line}", file=sys.stderr)
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    run(main)
