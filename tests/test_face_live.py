"""Live with model `face`: neutral pose, order, a face that is lost, and the server's own way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from fomm.animator import AnimationSettings, ModelSettings
from fomm.checkpoint import save_weights
from fomm.errors import InputError
from fomm.model.face import FaceConfig, FaceModel
from fomm.video import read_image
from preprocess.synthetic.puppets import Camera, Pose, draw, random_identity
from studio import shown
from studio.animation import load_tools, look
from studio.jobs import Stopped
from studio.live import LIVE_PX, Live, Setting, as_jpeg, make_live, read_jpeg
from studio.tools import PortraitTools
from studio.visitors import ASSETS, Studio

PORTRAIT = ASSETS / "portrait.png"
NOBODY = np.full((180, 240, 3), 90, np.uint8)


def camera(pose: Pose) -> np.ndarray:
    return draw(random_identity(5), pose, (240, 180), Camera(0, 0, 3.2)).image


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "face.safetensors"
    save_weights(path, FaceModel(FaceConfig(width=8)), category="face")
    return path


@pytest.fixture(scope="module")
def tools(checkpoint: Path) -> Iterator[PortraitTools]:
    with ExitStack() as stack:
        yield load_tools(ModelSettings(str(checkpoint)), AnimationSettings(), stack, lambda sentence: None)


@pytest.fixture
def live(tools: PortraitTools) -> Live:
    live = make_live(tools, read_image(PORTRAIT), "ann", AnimationSettings())
    live.begin(camera(Pose()))
    return live


def change(live: Live, picture: np.ndarray) -> float:
    photo = shown.shrunk(read_image(PORTRAIT), LIVE_PX)
    return float(np.abs(live.show(live.look(picture)).astype(int) - photo).mean())


def test_the_neutral_pose_is_the_photos_own(live: Live) -> None:
    assert change(live, camera(Pose())) == 0
    turned = camera(Pose(yaw=0.3, roll=0.1))
    assert change(live, turned) > 0.5
    with pytest.raises(InputError, match="no face seen: come into the picture"):
        live.begin(NOBODY)
    live.begin(turned)
    assert change(live, turned) == 0


def test_it_does_not_begin_without_a_face(tools: PortraitTools) -> None:
    with pytest.raises(InputError, match="no face found"):
        make_live(tools, NOBODY, "ann", AnimationSettings())
    live = make_live(tools, read_image(PORTRAIT), "ann", AnimationSettings(), fast=True)
    with pytest.raises(InputError, match="no face seen"):
        live.begin(NOBODY)
    assert not live.ready
    live.begin(camera(Pose()))
    assert live.ready and max(live.show(live.look(camera(Pose()))).shape) == 0.75 * LIVE_PX


def test_a_face_that_is_lost_is_held_then_fades_and_goes_on(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 100, 0.1))
    monkeypatch.setattr("studio.live.time.monotonic", lambda: next(clock))
    turned = camera(Pose(yaw=0.3))
    for _ in range(4):
        moved = change(live, turned)
    lost = [change(live, NOBODY) for _ in range(20)]
    assert lost[:3] == pytest.approx([moved] * 3, rel=0.05)
    assert lost[10] < moved and lost[-1] == pytest.approx(0, abs=0.05)
    again = [change(live, turned) for _ in range(6)]
    assert again[-1] == pytest.approx(moved, rel=0.1)


def test_the_server_looks_at_pictures_in_order_and_answers_all(checkpoint: Path, tmp_path: Path) -> None:
    studio = Studio(tmp_path, device="cpu")
    try:
        visitor = studio.visitor("ann")
        visitor.setting = Setting(str(PORTRAIT), str(checkpoint), False)
        frames = [
            as_jpeg(camera(Pose(yaw=0.05 * number))) for number in range(3)
        ]  # as many as are taken at once on one core

        async def begin() -> None:
            while True:
                try:
                    return await studio.drive(visitor.folder.name, frames[0])
                except Stopped:
                    await asyncio.sleep(0.05)

        async def all_at_once() -> list[bytes]:
            return await asyncio.gather(*(studio.drive(visitor.folder.name, frame) for frame in frames))

        asyncio.run(begin())
        order: list[bytes] = []
        look = visitor.live.look
        visitor.live.look = lambda frame: (order.append(as_jpeg(frame)), look(frame))[1]
        answers = [read_jpeg(answer) for answer in asyncio.run(all_at_once())]
        assert order == [as_jpeg(read_jpeg(frame)) for frame in frames]
        still = answers[0].astype(int)
        moved = [np.abs(answer - still).mean() for answer in answers]
        assert moved == sorted(moved) and moved[-1] > 0.3 and max(answers[0].shape) == LIVE_PX
    finally:
        studio.close()


def test_what_was_found_is_shown(tools: PortraitTools, tmp_path: Path) -> None:
    found = look(PORTRAIT, ASSETS / "speaker.mp4", AnimationSettings(), tools)
    facts = shown.facts(found)
    assert "may move, as they are; the person's outline is found" in facts["Crop"] and "to 320 px" in facts["Its crop"]
    photo, frame = shown.drawn_both(found, tools.finder)
    assert photo.shape == shown.shrunk(found.photo, shown.SHOWN_PX).shape
    page = shown.found_view(found, (photo, frame), tmp_path)
    assert page.count("<img") == 4 and "outline" in page
    whole = look(PORTRAIT, ASSETS / "speaker.mp4", AnimationSettings(crop=False), tools)
    assert shown.facts(whole) == {"Photo": "taken whole", "Video": "taken whole"}
    shown.found_view(whole, shown.drawn_both(whole, tools.finder), tmp_path)
