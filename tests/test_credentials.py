"""Content credentials: what a result claims, that a changed byte is found, and whose certificate signs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fomm.animator.credentials import SIGNED, config_folder, make_pair, sign, signed_ones, verify
from fomm.animator.provenance import synthetic_tags
from fomm.errors import InputError
from fomm.video import SYNTHETIC_COMPOSITE, VideoReader, VideoWriter, write_image

ROOT = Path(__file__).resolve().parent.parent
PICTURE = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
INPUTS = {
    "source": {"path": "somewhere/photo.jpg", "sha256": "ab" * 32},
    "driving": {"path": "m.json", "sha256": "12" * 32},
}


def result(path: Path) -> Path:
    tags = synthetic_tags(pasted=True)
    if path.suffix in (".png", ".jpg", ".jpeg"):
        write_image(path, PICTURE, tags)
    else:
        with VideoWriter(path, fps=25, metadata=tags) as writer:
            for _ in range(5):
                writer.write(PICTURE)
    return path


def signed(path: Path, pair: str | None = None) -> Path:
    checkpoint = {"name": "face", "sha256": "cd" * 32}
    sign(result(path), pair, source_type=SYNTHETIC_COMPOSITE, inputs=INPUTS, checkpoint=checkpoint)
    return path


@pytest.mark.parametrize("suffix", SIGNED)
def test_a_result_says_what_it_is_and_a_changed_byte_is_found(tmp_path: Path, suffix: str) -> None:
    path = signed(tmp_path / f"r{suffix}")
    said, intact = verify(path)
    text = " ".join(said)
    assert intact and "Not altered" in text and "proves no identity" in text
    assert "created, digital source type compositeWithTrainedAlgorithmicMedia" in text
    assert (
        "source photo.jpg (sha256 abab" in text and "driving m.json" in text and "checkpoint face (sha256 cdcd" in text
    )
    assert "somewhere" not in text
    frames = [frame.image for frame in VideoReader(path)]
    before = [frame.image for frame in VideoReader(result(tmp_path / f"before{suffix}"))]
    np.testing.assert_array_equal(frames, before)
    content = path.read_bytes()
    first = content.rindex({".png": b"IDAT", ".mp4": b"mdat", ".mov": b"mdat"}.get(suffix, b"\xff\xda")) + 16
    for place in (first, (first + len(content)) // 2 if suffix in (".png", ".jpg", ".jpeg") else first + 200):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        said, intact = verify(path)
        assert not intact and said[0].startswith("ALTERED")


def test_the_command_says_it_in_words(tmp_path: Path) -> None:
    path = signed(tmp_path / "r.png")

    def command() -> subprocess.CompletedProcess:
        arguments = [sys.executable, "-m", "fomm", "verify", str(path)]
        return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert command().returncode == 0 and command().stdout.startswith("Not altered")
    path.write_bytes(path.read_bytes()[:-30] + b"x" + path.read_bytes()[-29:])
    assert command().returncode != 0
    result(path)
    assert command().returncode == 2 and "carries no content credentials" in command().stderr


def test_ones_own_certificate_signs(tmp_path: Path) -> None:
    for name, text in zip(("cert.pem", "key.pem"), make_pair(), strict=True):
        (tmp_path / name).write_text(text)
    pair = f"{tmp_path / 'cert.pem'},{tmp_path / 'key.pem'}"
    assert verify(signed(tmp_path / "r.png", pair))[1]


def test_the_machines_certificate_is_made_once_and_kept_private(tmp_path: Path) -> None:
    signed(tmp_path / "r.png")
    key = config_folder() / "key.pem"
    before = key.read_bytes()
    signed(tmp_path / "s.png")
    assert key.read_bytes() == before and key.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("pair", ["one.pem", "none.pem,none.pem", "bad.pem,bad.pem"])
def test_certificates_that_will_not_do_are_told_and_nothing_is_left(tmp_path: Path, monkeypatch, pair: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.pem").write_text("nothing")
    with pytest.raises(InputError, match="--sign"):
        signed(tmp_path / "r.png", pair)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.pem", "r.png"]


def test_kinds_without_credentials() -> None:
    assert signed_ones([Path("a.gif"), Path("a.webm"), Path("frames"), Path("a.mp4")]) == [Path("a.mp4")]
