"""Everything that can be measured on this machine, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from fomm.errors import InputError
from fomm.evaluation import measures
from fomm.evaluation.contenders import animate_bodies, animate_faces
from fomm.evaluation.definitions import METRICS, MetricInfo, custom_identity, fvd
from fomm.evaluation.following import Following
from fomm.evaluation.frames import Detector
from fomm.evaluation.measures import Measure
from fomm.evaluation.measuring import Features
from fomm.evaluation.tasks import Contender
from fomm.pretrained.dlib_resnet import DlibEmbedder
from fomm.pretrained.embedders import load_embedder
from fomm.pretrained.face_alignment import FaceAlignmentLandmarks
from fomm.pretrained.features import load_inception, load_lpips
from fomm.pretrained.video_network import VideoNetwork
from fomm.report.schema import NotComputed


@dataclass
class Instruments:
    """What measures, what the numbers mean, and what could not be measured."""

    measures: list[Measure]
    infos: dict[str, MetricInfo]
    features: Features | None
    video_network: VideoNetwork | None
    not_computed: list[NotComputed]
    face_networks: dict[str, str]  # of the user's: file -> sha256


class FaceSeen(Protocol):
    """A `preprocess.faces.Face`; angles in degrees."""

    @property
    def landmarks_px(self) -> np.ndarray:
        """(468, 2) float32."""

    @property
    def yaw_deg(self) -> float: ...

    @property
    def pitch_deg(self) -> float: ...

    @property
    def roll_deg(self) -> float: ...


class FindsFaces(Protocol):
    """A `preprocess.faces.FaceFinder`; pictures are (H, W, 3) uint8, and what is not seen is None."""

    def find(self, image: np.ndarray, *, thorough: bool) -> Sequence[FaceSeen]:
        """Faces in a picture, the largest first."""

    def mesh(self, image: np.ndarray) -> np.ndarray | None:
        """(478, 3) points of the largest face."""

    def pose(self, image: np.ndarray) -> np.ndarray | None:
        """(33, 3) keypoints of a body in pixels, and how surely."""


class Detectors(NamedTuple):
    """What finds faces and bodies; None: they are not looked for.

    Attributes:
        mesh: the 468 points of a face.
        refined: the 478 points in three dimensions, irises among them; without it no expression is followed.
        pose: the 33 keypoints of a body, and how surely.
    """

    mesh: Detector | None = None
    refined: Detector | None = None
    pose: Detector | None = None

    @classmethod
    def needed(
        cls, contenders: Sequence[Contender], metrics: Sequence[str], finder: Callable[[], FindsFaces]
    ) -> Detectors:
        """Those that say something about these models, or that the named metrics ask for.

        Args:
            finder: makes what finds; not called where nothing is looked for.
        """
        faces = animate_faces(contenders)
        bodies = animate_bodies(contenders) or any(name.endswith("_pose") for name in metrics)
        return cls(
            face_mesh(finder()) if faces else None,
            Detector("mediapipe_refined", finder().mesh) if faces else None,
            Detector("pose", finder().pose) if bodies else None,
        )


def face_mesh(finder: FindsFaces) -> Detector:
    """The mesh of the largest face, with its angles."""

    def look(picture: np.ndarray) -> FaceSeen | None:
        faces = finder.find(picture, thorough=False)
        return faces[0] if faces else None

    return Detector(
        "mediapipe",
        look,
        landmarks=lambda face: face.landmarks_px,
        angles=lambda face: (face.yaw_deg, face.pitch_deg, face.roll_deg),
    )


def load_instruments(
    device: torch.device,
    detectors: Detectors = Detectors(),  # noqa: B008 (cannot be changed)
    *,
    face_networks: Sequence[str] = (),
    video_network: str | None = None,
    chosen: Sequence[str] = (),
    every: int = 1,
) -> Instruments:
    """Everything that can be measured here. Missing or damaged weights are told in the report, never replaced.

    Args:
        device: where networks run.
        detectors: what finds faces and bodies.
        face_networks: files of the user's identity networks.
        video_network: file of the user's network for FVD.
        chosen: names of metrics; nothing else is measured. Default: all.
        every: of so many frames one is measured; what needs neighbours in time is left out unless it is 1.

    Raises:
        InputError: one of the user's networks cannot be used, or has the name of another metric; an unknown metric; FVD
            of single frames.
    """
    mesh, refined, pose = detectors
    own = {f"identity_{Path(file).stem}" for file in face_networks}
    if unknown := [name for name in chosen if name not in METRICS.keys() | own]:
        raise InputError(f"--metrics {unknown[0]}: no such metric; choose from {', '.join([*METRICS, *sorted(own)])}")
    infos, missing = dict(METRICS), list[NotComputed]()
    made: list[Measure] = [measures.Pixels(), measures.OwnKeypoints(), measures.IdentityTruth()]

    def attempt(name: str, make: Callable[[], Any]) -> Any | None:
        try:
            return make()
        except InputError as error:
            reason, _, how = str(error).rpartition("; ")  # all our errors end with what to do
            missing.append(NotComputed(metric=name, reason=reason or how, how=how))
            return None

    def add(name: str, make: Callable[[], Measure]) -> None:
        measure = attempt(name, make) if is_chosen(name) else None
        if measure is not None:
            made.append(measure)

    def is_chosen(*names: str) -> bool:
        return not chosen or any(name in chosen for name in names)

    add("lpips", lambda: measures.Lpips(load_lpips(device)))
    features = attempt("fid", lambda: load_inception(device)) if is_chosen("fid", "kid") else None
    if features is None:
        missing += [row.model_copy(update={"metric": "kid"}) for row in missing if row.metric == "fid"]
    neighbours = "needs all frames", "leave out --every"
    network = None
    if video_network is not None:
        network = VideoNetwork(video_network)
        if every != 1:
            raise InputError(f"--video_network {video_network}: FVD needs all frames; leave out --every")
        infos["fvd"] = fvd(network.path.name, network.sha256, network.frames, network.side)
    else:
        how = "give an I3D with --video_network; docs/evaluation.md"
        missing.append(NotComputed(metric="fvd", reason="no video network was given", how=how))
    if every == 1:
        made.append(measures.FlowError())
    else:
        missing.append(NotComputed(metric="tof", reason=neighbours[0], how=neighbours[1]))
    if pose:
        made.append(measures.Bodies(pose))
    if mesh:
        made += [cls(mesh) for cls in (measures.FacePixels, measures.Akd, measures.AkdTruth)]
        made.append(measures.HeadPose(mesh))
        if every == 1:
            made.append(measures.Jitter(mesh))
        else:
            missing.append(NotComputed(metric="jitter", reason=neighbours[0], how=neighbours[1]))
        add(
            "akd_face_alignment",
            lambda: measures.Akd(Detector("face_alignment", FaceAlignmentLandmarks(device, flip_input=False))),
        )
        add("aed_openface", lambda: measures.Aed(load_embedder("openface", device)))
        for name in ("identity_dlib", "identity_dlib_driver"):
            if not any(isinstance(measure, measures.IdentityDlib) for measure in made):
                add(name, lambda: measures.IdentityDlib(DlibEmbedder(), mesh))
        add("csim_arcface", lambda: measures.Similarity(load_embedder("arcface"), mesh))
    if refined:
        made.append(Following(refined))
    hashes = {}
    for source in face_networks:
        embedder = load_embedder(source, device)
        name, stem = embedder.metric, embedder.metric.removeprefix("identity_")
        if name in infos:
            raise InputError(f"--face_networks {source}: there is another metric {name}; give the file another name")
        hashes[source] = embedder.sha256
        infos[name] = custom_identity(stem, str(embedder.convention), embedder.sha256, aligned=embedder.aligned)
        if mesh or not embedder.aligned:
            made.append(measures.Similarity(embedder, mesh))
    made = [measure for measure in made if is_chosen(*measure.names)]
    missing = [row for row in missing if is_chosen(row.metric)]
    infos = {name: info for name, info in infos.items() if is_chosen(name)}
    return Instruments(made, infos, features, network if is_chosen("fvd") else None, missing, hashes)


def why_not(instruments: Instruments, computed: Sequence[str], faces: bool) -> list[NotComputed]:
    """Metrics that no clip has, beyond those whose weights are missing."""
    told = {*computed, *(row.metric for row in instruments.not_computed)}
    nothing = ("no clip could be measured", "see the failures")
    if computed:
        nothing = ("no clip says anything about it", "docs/evaluation.md says what it needs")
    no_face = nothing if faces else ("no face was looked for", "evaluate a model of faces")
    reasons = {
        "exact": (
            "the data set has no exact landmarks and identities",
            "`python -m preprocess puppet_pairs` draws one",
        ),
        "cross": ("no clip is driven by another", "give --pairs; `python -m preprocess pairs` makes a list"),
        "mesh": no_face,
        "face": no_face,
        "body": ("no body was looked for", "evaluate a model of bodies, or name it with --metrics"),
        "model": ("no model with keypoints of its own could be measured", "give a --checkpoint"),
    }
    rows = []
    for name, info in instruments.infos.items():
        if name not in told:
            need = next(
                (need for need in ("exact", "cross", "model", "mesh", "face", "body") if need in info.needs), ""
            )
            reason, how = reasons.get(need, nothing)
            rows.append(NotComputed(metric=name, reason=reason, how=how))
    return rows
