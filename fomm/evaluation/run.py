"""A whole evaluation: processes, tasks, results, and what is reported of them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from pydantic import JsonValue

from fomm.animator import choose_device
from fomm.errors import InputError, require_at_least
from fomm.evaluation import statistics
from fomm.evaluation.contenders import MAYBE_FACES, DataSet, any_are, baseline_of, notes_on, on_device
from fomm.evaluation.definitions import FOLLOWED
from fomm.evaluation.gallery import choose_shown, write_shown
from fomm.evaluation.instruments import Instruments, why_not
from fomm.evaluation.measuring import RECORDS, Record, check_records, contents_of, measure_task, run_tasks
from fomm.evaluation.per_frame import write_per_frame
from fomm.evaluation.results import collect
from fomm.evaluation.tasks import Contender, Task, TruthOf, common_size
from fomm.files import remove_parts
from fomm.progress import Progress, silent
from fomm.report.schema import Metric, Model, Report, Run, Shown

PACKAGES = ("fomm", "torch", "torchmetrics", "numpy", "opencv-python", "mediapipe", "onnxruntime", "av")

WHOLE_CLIP = {f"{deed}_{what}" for deed in FOLLOWED for what in ("correlation", "slope")}  # no value for each frame


def launch(device: str = "auto", *, devices: int | None = None, nodes: int = 1) -> Fabric:
    """Processes, as Lightning starts them or as torchrun or a cluster has started them already.

    Args:
        device: auto, cpu, cuda, cuda:1 or mps.
        devices: processes on this machine. Default: 1, or what torchrun says.
        nodes: machines.

    Raises:
        InputError: no such device, or not so many.
    """
    require_at_least(devices=(1 if devices is None else devices, 1), nodes=(nodes, 1))
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
    data: DataSet,
    contenders: Sequence[Contender],
    instruments: Instruments,
    output: Path,
    *,
    fabric: Fabric,
    truth_of: TruthOf,
    code: Mapping[str, str],
    settings: Mapping[str, JsonValue],
    command: Sequence[str],
    progress: Progress = silent,
) -> Report | None:
    """Measure all contenders on all clips; None on processes other than the first.

    Args:
        output: folder for records and clips to look at.
        truth_of: exact knowledge of the data set.
        code: name -> hash of all code that the numbers depend on; records of different code do not mix.
        settings: for the report, beside those of the statistics; so is `command`.
        progress: is called by the first process.

    Raises InputError where it cannot be done; faulty clips are part of the report instead.
    """
    device = "mps" if fabric.device.type == "mps" else str(fabric.device)
    size = common_size(contenders)
    contenders = [
        replace(contender, animator=on_device(contender, device), notes=notes_on(contender, contenders, size))
        for contender in contenders
    ]
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    versions |= {f"code of {name}": sha256 for name, sha256 in code.items()}
    records, started = output / RECORDS, time.time()
    check_records(
        records,
        _depends_on(data, contenders, instruments, size) | {"device": fabric.device.type, "versions": versions},
    )
    tasks = [task for task in data.tasks if any(contender.takes_part(task) for contender in contenders)]
    folder = data.manifest.parent

    def measure(task: Task, tell: Callable[[int], None]) -> Record:
        return measure_task(
            task,
            folder,
            contenders,
            instruments.measures,
            size=size,
            features=instruments.features,
            video_network=instruments.video_network,
            device=torch.device(device),
            truth_of=truth_of,
            every=instruments.every,
            progress=tell,
        )

    had = run_tasks(
        tasks,
        records,
        measure,
        contents=lambda task: contents_of(task, folder),
        rank=fabric.global_rank,
        world=fabric.world_size,
        progress=progress if fabric.is_global_zero else silent,
    )
    from_before = torch.tensor(had, device=fabric.device)
    fabric.all_reduce(from_before, reduce_op="sum")
    fabric.barrier()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # from here on the first process is alone, and FID must know it
    if not fabric.is_global_zero:
        return None
    remove_parts(records, output, output / "media", before=started)

    run = Run(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        elapsed_s=0.0,
        command=list(command),
        hardware=hardware(fabric),
        clips_from_before=int(from_before),
    )
    return _report(run, data, tasks, contenders, instruments, output, size, settings=settings, versions=versions)


def _depends_on(data: DataSet, contenders: Sequence[Contender], instruments: Instruments, size: int) -> dict[str, Any]:
    """What the records depend on, beside machine and code."""
    return {
        "data": data.described.model_dump(include={"manifest_sha256", "pairs_sha256", "split"}),
        "models": {contender.name: contender.sha256 for contender in contenders},
        "metrics": sorted(instruments.names) + (["fid"] if instruments.features else []),
        "video_network": instruments.video_network.sha256 if instruments.video_network else None,
        "chosen": sorted(instruments.infos),
        "face_networks": instruments.face_networks,
        "size": size,
        "limit": data.limit,
        "every": instruments.every,
    }


def _report(
    run: Run,
    data: DataSet,
    tasks: Sequence[Task],
    contenders: Sequence[Contender],
    instruments: Instruments,
    output: Path,
    size: int,
    *,
    settings: Mapping[str, JsonValue],
    versions: dict[str, str],
) -> Report:
    """What all records say, what it means and what is missing; single frames and clips to look at go to `output`."""
    infos, baseline = instruments.infos, baseline_of(contenders)
    folder, records = data.manifest.parent, output / RECORDS
    models = [contender.name for contender in contenders]
    results = collect(tasks, records, models, infos, baseline, size)
    per_frame = [name for name in infos if name in instruments.names - WHOLE_CLIP]
    write_per_frame(output / "per_frame.csv", tasks, records, models, per_frame, instruments.every)
    for name, protocol in results.protocols.items():
        by_name = {task.name: task for task in tasks if task.protocol == name}
        # the source is in every video anyway
        shown = [contender for contender in contenders if contender.animator or name in contender.protocols]
        for kind, clip, metric in choose_shown(protocol, shown[0].name, infos) if shown else []:
            media = f"media/{name}_{kind}.mp4"
            columns = write_shown(by_name[clip], folder, shown, size, output / media)
            protocol.gallery.append(Shown(kind=kind, clip=clip, metric=metric, media=media, columns=columns))
    measured = {clip.clip_id: clip.identity for task in tasks for clip in task.clips}
    computed = [m for m in infos if any(m in p.summary for p in results.protocols.values())]
    return Report(
        run=run,
        settings={
            "baseline": baseline,
            **settings,
            "limit": data.limit,
            "every": instruments.every,
            "face_networks": list(instruments.face_networks),
            "precision": "float32; frames are compared in 8 bits",
            "interval": f"Student's t over identities, of sources and of drivers, {statistics.LEVEL:.0%}",
        },
        versions=versions,
        data=data.described.model_copy(
            update={"clips": len(measured), "identities": len(set(measured.values())), "frames": results.frames}
            | {"size": [size, size], "warnings": [*data.described.warnings, *results.notes]}
        ),
        models=[Model(**{name: getattr(c, name) for name in Model.model_fields} | {"notes": [*c.notes]})
                for c in contenders],
        metrics={name: Metric(**{key: getattr(infos[name], key) for key in Metric.model_fields}) for name in computed},
        not_computed=instruments.not_computed + why_not(instruments, computed, any_are(contenders, *MAYBE_FACES)),
        protocols=results.protocols,
        failures=results.failures,
    )  # fmt: skip


def hardware(fabric: Fabric) -> dict[str, JsonValue]:
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
