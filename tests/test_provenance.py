"""The visible mark, the sidecar and the metadata of synthetic media."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fomm.animator.provenance import LABEL, Label, hash_input, sidecar_path, synthetic_tags, write_sidecar
from fomm.errors import InputError
from fomm.files import hash_file
from fomm.video import DIGITAL_SOURCE_TYPE, SYNTHETIC, SYNTHETIC_COMPOSITE, write_image


@pytest.mark.parametrize("size", [(64, 64), (256, 256), (720, 1280), (1920, 1080)])
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_the_mark_can_be_read_on_any_ground(size: tuple[int, int], grey: int) -> None:
    image = np.full((*size, 3), grey, np.uint8)
    marked = Label()(image)
    assert (image == grey).all() and marked.shape == image.shape and marked.dtype == np.uint8
    rows, columns = np.nonzero((marked != image).any(-1)) if grey != 0 else np.nonzero(marked.any(-1))
    height, width = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
    assert rows.max() >= size[0] * 0.9 and columns.min() <= 0.05 * size[1]  # lower left
    assert height < 0.25 * size[0] and width <= size[1]
    plate = marked[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(float) / 255
    # contrast of text to ground as the web's accessibility rules count it (4.5 is asked of small text)
    luminance = np.where(plate <= 0.04045, plate / 12.92, ((plate + 0.055) / 1.055) ** 2.4)[..., 0]
    text, ground = luminance.max(), np.median(luminance)
    assert (text + 0.05) / (ground + 0.05) > 4.5


def test_the_mark_follows_the_size_of_the_picture() -> None:
    label = Label()
    for side in (128, 512, 128):
        marked = label(np.full((side, side, 3), 255, np.uint8))
        assert (marked[-3] < 255).any() and marked.shape[0] == side


def test_tags() -> None:
    assert synthetic_tags(pasted=True)[DIGITAL_SOURCE_TYPE] == SYNTHETIC_COMPOSITE
    assert synthetic_tags(pasted=False)[DIGITAL_SOURCE_TYPE] == SYNTHETIC
    assert LABEL in synthetic_tags(pasted=False)["comment"]


def test_a_folder_of_frames_has_one_hash(tmp_path: Path) -> None:
    for name, grey in (("1.png", 10), ("2.png", 20)):
        write_image(tmp_path / "frames" / name, np.full((8, 8, 3), grey, np.uint8))
    before = hash_input(tmp_path / "frames")
    assert before == hash_input(tmp_path / "frames") and len(before) == 64
    assert hash_input(tmp_path / "frames" / "1.png") == hash_file(tmp_path / "frames" / "1.png")
    write_image(tmp_path / "frames" / "2.png", np.full((8, 8, 3), 21, np.uint8))
    assert hash_input(tmp_path / "frames") != before


def test_the_sidecar(tmp_path: Path) -> None:
    picture = tmp_path / "r.png"
    write_image(picture, np.zeros((8, 8, 3), np.uint8))
    arguments = dict(settings={"a": 1}, inputs={"source": picture}, checkpoint={"sha256": "x"}, outputs=[picture])
    path = write_sidecar(picture, **arguments, details={"warnings": ["none"]})
    assert path == sidecar_path(picture) == tmp_path / "r.png.json"
    record = json.loads(path.read_text())
    assert record["synthetic"] is True and record["settings"] == {"a": 1} and record["warnings"] == ["none"]
    assert record["inputs"]["source"]["sha256"] == record["outputs"]["r.png"] == hash_file(picture)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        write_sidecar(tmp_path / "file" / "r.png", **arguments, details={})
