"""Everything that can be measured on this machine, and why the rest cannot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
import torch

from fomm.errors import InputError
from fomm.evaluation import measures
from fomm.evaluation.contenders import MAYBE_FACES, any_are
from fomm.evaluation.definitions import METRICS, MetricInfo, custom_identity, fvd
from fomm.evaluation.following import Following
from fomm.evaluation.frames import Detector
from fomm.evaluation.measures import Measure
from fomm.evaluation.measuring import Features
from fomm.evaluation.settings import MeasureSettings
from fomm.evaluation.tasks import Contender
from fomm.pretrained.dlib_resnet import DlibEmbedder
from fomm.pretrained.embedders import load_embedder
from fomm.pretrained.face_alignment import FaceAlignmentLandmarks
from fomm.pretrained.features import load_inception, load_lpips
from fomm.pretrained.video_network import VideoNetwork
from fomm.report.schema import NotComputed

T = TypeVar("T")


@dataclass
class Instruments:
    """What measures, what the numbers mean, and what could not be measured."""

    measures: list[Measure]
    infos: dict[str, MetricInfo]
    features: Features | None
    video_network: VideoNetwork | None
    not_computed: list[NotComputed]
    face_networks: dict[str, str]  # of the user's: file -> sha256
    every: int = 1  # of so many frames one is measured

    @property
    def names(self) -> set[str]:
        """Metrics of which each frame or clip has values."""
        return {name for measure in self.measures for name in measure.names}


class FindsFaces(Protocol):
    """A `preprocess.faces.FaceFinder`; pictures are (H, W, 3) uint8, and what is not seen is None."""

    def find(self, image: np.ndarray, *, thorough: bool) -> Sequence[Any]:
        """Each a `preprocess.faces.Face`, the largest first."""

    def mesh(self, image: np.ndarray) -> np.ndarray | None:
        """(478, 3) points of the largest face."""

    def pose(self, image: np.ndarray) -> np.ndarray | None:
        """(33, 3) keypoints of a body in pixels, and how surely."""


class Detectors(NamedTuple):
    """What finds faces and bodies; None: they are not looked for."""

    mesh: Detector | None = None  # the 468 points of a face
    refined: Detector | None = None  # the 478 in three dimensions, with irises: without them no expression is followed
    pose: Detector | None = None  # the 33 keypoints of a body, and how surely

    @classmethod
    def needed(
        cls, contenders: Sequence[Contender], metrics: Sequence[str], finder: Callable[[], FindsFaces]
    ) -> Detectors:
        """Those that say something about these models, or that the named metrics ask for; `finder` makes what finds, if
        there is anything to look for."""
        faces = any_are(contenders, *MAYBE_FACES)
        bodies = any_are(contenders, "body") or any(name.endswith("_pose") for name in metrics)
        return cls(
            face_mesh(finder()) if faces else None,
            Detector("mediapipe_refined", finder().mesh) if faces else None,
            Detector("pose", finder().pose) if bodies else None,
        )


def face_mesh(finder: FindsFaces) -> Detector:
    """The mesh of the largest face, with its angles."""

    def look(picture: np.ndarray) -> Any | None:
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
    settings: MeasureSettings = MeasureSettings(),  # noqa: B008
) -> Instruments:
    """Everything that can be measured here, by networks on a device. Missing or damaged weights are told in the report,
    never replaced.

    Raises InputError where one of the user's networks cannot be used, or has the name of another metric; for an unknown
    metric; for FVD of single frames.
    """
    settings.check()
    making = _Making(settings)
    making.add(lambda: measures.Lpips(load_lpips(device)), "lpips")
    features = making.attempt(lambda: load_inception(device), "fid", "kid")
    video_network = making.video_network()
    making.add_over_time(measures.FlowError, "tof")
    if detectors.pose:
        making.measures.append(measures.Bodies(detectors.pose))
    if detectors.mesh:
        making.add_of_faces(detectors.mesh, device)
    if detectors.refined:
        making.measures.append(Following(detectors.refined))
    hashes = making.add_face_networks(detectors.mesh, device)
    asked = settings.asks_for
    return Instruments(
        [measure for measure in making.measures if asked(*measure.names)],
        {name: info for name, info in making.infos.items() if asked(name)},
        features,
        video_network if asked("fvd") else None,
        [row for row in making.missing if asked(row.metric)],
        hashes,
        settings.every,
    )


class _Making:
    """The measures so far, and what is missing; both also of what was not asked for."""

    def __init__(self, settings: MeasureSettings) -> None:
        self.settings = settings
        self.measures: list[Measure] = [measures.Pixels(), measures.OwnKeypoints(), measures.IdentityTruth()]
        self.infos = dict(METRICS)
        self.missing: list[NotComputed] = []

    def attempt(self, make: Callable[[], T], *names: str) -> T | None:
        """What these metrics need; None where it cannot be made, which is told, or none of them is asked for."""
        try:
            return make() if self.settings.asks_for(*names) else None
        except InputError as error:
            reason, _, how = str(error).rpartition("; ")  # all our errors end with what to do
            self.missing += [NotComputed(metric=name, reason=reason or how, how=how) for name in names]
            return None

    def add(self, make: Callable[[], Measure], *names: str) -> None:
        measure = self.attempt(make, *names)
        if measure is not None:
            self.measures.append(measure)

    def add_over_time(self, make: Callable[[], Measure], name: str) -> None:
        if self.settings.every == 1:
            self.add(make, name)
        else:
            self.missing.append(NotComputed(metric=name, reason="needs all frames", how="leave out --every"))

    def add_of_faces(self, mesh: Detector, device: torch.device) -> None:
        kinds = measures.FacePixels, measures.Akd, measures.AkdTruth, measures.HeadPose
        self.measures += [kind(mesh) for kind in kinds]
        self.add_over_time(lambda: measures.Jitter(mesh), "jitter")
        self.add(
            lambda: measures.Akd(Detector("face_alignment", FaceAlignmentLandmarks(device, flip_input=False))),
            "akd_face_alignment",
        )
        self.add(lambda: measures.Aed(load_embedder("openface", device)), "aed_openface")
        self.add(lambda: measures.IdentityDlib(DlibEmbedder(), mesh), "identity_dlib", "identity_dlib_driver")
        self.add(lambda: measures.Similarity(load_embedder("arcface"), mesh), "csim_arcface")

    def add_face_networks(self, mesh: Detector | None, device: torch.device) -> dict[str, str]:
        """Those of the user's; returns file -> sha256."""
        hashes = {}
        for source in self.settings.face_networks:
            embedder = load_embedder(source, device)
            name, stem = embedder.metric, embedder.metric.removeprefix("identity_")
            if name in self.infos:
                raise InputError(
                    f"--face_networks {source}: there is another metric {name}; give the file another name"
                )
            hashes[source] = embedder.sha256
            sees = str(embedder.convention)
            self.infos[name] = custom_identity(stem, sees, embedder.sha256, aligned=embedder.aligned)
            if mesh or not embedder.aligned:
                self.measures.append(measures.Similarity(embedder, mesh))
        return hashes

    def video_network(self) -> VideoNetwork | None:
        """The user's."""
        file = self.settings.video_network
        if file is None:
            how = "give an I3D with --video_network; docs/evaluation.md"
            self.missing.append(NotComputed(metric="fvd", reason="no video network was given", how=how))
            return None
        network = VideoNetwork(file)
        if self.settings.every != 1:
            raise InputError(f"--video_network {file}: FVD needs all frames; leave out --every")
        self.infos["fvd"] = fvd(network.path.name, network.sha256, network.frames, network.side)
        return network


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
        "model": ("no model with keypoints of its own could be measured", "give a --checkpoint"),
        "mesh": no_face,
        "face": no_face,
        "body": ("no body was looked for", "evaluate a model of bodies, or name it with --metrics"),
    }  # what is said of a metric with several needs comes first
    rows = []
    for name, info in instruments.infos.items():
        if name not in told:
            reason, how = next((why for need, why in reasons.items() if need in info.needs), nothing)
            rows.append(NotComputed(metric=name, reason=reason, how=how))
    return rows
