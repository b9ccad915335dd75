"""A whole evaluation: processes, tasks, results, and what is reported of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from fomm.animator import Animator, choose_device
from fomm.errors import InputError
from fomm.evaluation import statistics
from fomm.evaluation.contenders import Data, animate_faces, baseline_of, notes_on
from fomm.evaluation.gallery import choose_shown, write_shown
from fomm.evaluation.instruments import Instruments, described, why_not
from fomm.evaluation.measuring import Record, check_records, measure_task, run_tasks
from fomm.evaluation.metrics import MetricInfo
from fomm.evaluation.results import collect
from fomm.evaluation.tasks import Contender, Task, TruthOf, common_size, list_tasks
from fomm.files import hash_file
from fomm.progress import Progress, silent
from fomm.report import SCHEMA

# Whoever changes one of these begins anew: records of different code do not mix.
CODE = (
    *("evaluation/metrics.py", "evaluation/measures.py", "evaluation/frames.py", "evaluation/performance.py"),
    *("evaluation/measuring.py", "pretrained/embedders.py", "animator/animator.py", "animator/folded.py"),
)
PACKAGE = Path(__file__).resolve().parent.parent
PACKAGES = ("fomm", "torch", "torchmetrics", "numpy", "opencv-python", "mediapipe", "onnxruntime", "av")


def launch(device: str = "auto", *, devices: int | None = None, nodes: int = 1) -> Fabric:
    """Processes, as Lightning starts them or as torchrun or a cluster has started them already.

    Args:
        device: auto, cpu, cuda, cuda:1 or mps.
        devices: processes on this machine. Default: 1, or what torchrun says.
        nodes: machines.

    Raises:
        InputError: no such device, or not so many.
    """
    if nodes < 1 or (devices is not None and devices < 1):
        raise InputError(f"--devices {devices} --nodes {nodes}: must be at least 1")
    chosen = choose_device(device)
    devices = devices or int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    nodes = max(nodes, int(os.environ.get("GROUP_WORLD_SIZE", 1)))
    if chosen.type == "cuda" and devices > torch.cuda.device_count():
        raise InputError(f"--devices {devices}: there are {torch.cuda.device_count()} CUDA devices here; give fewer")
    several = devices * nodes > 1
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True  # equal runs give equal numbers
    fabric = Fabric(
        accelerator=chosen.type,
        devices=devices if several or chosen.index is None else [chosen.index],
        num_nodes=nodes,
        # Nobody waits for a gradient here, but at the end for the slowest process.
        strategy=DDPStrategy(timeout=timedelta(days=7)) if several else "auto",
    )
    fabric.launch()
    return fabric


def evaluate(
    data: Data,
    contenders: Sequence[Contender],
    instruments: Instruments,
    output: Path,
    *,
    fabric: Fabric,
    truth_of: TruthOf,
    settings: Mapping[str, Any],
    command: Sequence[str],
    progress: Progress = silent,
) -> dict[str, Any] | None:
    """Measure all contenders on all clips.

    Args:
        output: folder for records and clips to look at.
        fabric: of `launch`.
        truth_of: exact knowledge of the data set.
        settings: for the report, beside those of the statistics.
        command: for the report.

    Returns: the report; None on processes other than the first.

    Raises:
        InputError: it cannot be done. Faulty clips are part of the report instead.
    """
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
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    names = sorted({name for measure in instruments.measures for name in measure.names})
    records, started = output / "records", time.time()
    check_records(
        records,
        {
            "data": {key: data.described[key] for key in ("manifest_sha256", "pairs_sha256", "split")},
            "models": {contender.name: contender.sha256 for contender in contenders},
            "metrics": names + (["fid"] if instruments.features else []),
            "face_networks": instruments.face_networks,
            "size": size,
            "device": fabric.device.type,
            "versions": versions | {name: hash_file(PACKAGE / name) for name in CODE},
        },
    )
    tasks = list_tasks(data.clips, data.pairs)
    folder = data.manifest.parent

    def measure(task: Task, tell: Callable[[int], None]) -> Record:
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
            "command": list(command),
            "hardware": hardware(fabric),
            "clips_from_before": resumed,
        },
        "settings": {
            "baseline": baseline_of(contenders),
            **settings,
            "face_networks": list(instruments.face_networks),
            "precision": "float32",
            "interval": f"bootstrap over identities, {statistics.LEVEL:.0%}, {statistics.DRAWS} draws",
            "seed": statistics.SEED,
        },
        "versions": versions,
        "data": data.described
        | {"frames": results.frames, "size": [size, size], "warnings": data.described["warnings"] + results.notes},
        "models": [contender.described() for contender in contenders],
        "metrics": {name: described(instruments.infos[name]) for name in computed},
        "not_computed": instruments.not_computed + why_not(instruments, computed, animate_faces(contenders)),
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


def hardware(fabric: Fabric) -> dict[str, Any]:
    """What it ran on."""
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
    tasks: Sequence[Task],
    folder: Path,
    contenders: Sequence[Contender],
    size: int,
    infos: Mapping[str, MetricInfo],
    output: Path,
) -> None:
    """Write the videos of a protocol's gallery and enter them."""
    by_name = {task.name: task for task in tasks if task.protocol == name}
    models = [contender for contender in contenders if contender.animator]  # the source is in every video anyway
    for kind, clip, metric in choose_shown(protocol, models[0].name, infos) if models else []:
        media = f"media/{name}_{kind}.mp4"
        columns = write_shown(by_name[clip], folder, models, size, output / media)
        protocol["gallery"].append({"kind": kind, "clip": clip, "metric": metric, "media": media, "columns": columns})
