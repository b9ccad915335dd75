"""Content credentials: what a result claims, that a changed byte is found, and whose certificate signs."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from in_process import fomm

from fomm.animator import AnimationSettings
from fomm.animator.credentials import SIGNED, config_folder, make_pair, sign, signed_ones, verify
from fomm.animator.provenance import synthetic_tags, write_sidecar
from fomm.errors import InputError
from fomm.video import SYNTHETIC_COMPOSITE, VideoReader, VideoWriter, write_image
from studio.animation import outputs_of

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


def boxes(content: bytes) -> dict[str, tuple[int, int]]:
    """The boxes of an mp4 from first to last byte; that of C2PA, a uuid like ours, is called c2pa."""
    places, at = {}, 0
    while at < len(content):
        size, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8].decode()
        known = content[at + 8 : at + 24].hex() == "d8fec3d61b0e483c92975828877ec481"
        places["c2pa" if known else kind] = at, at + size
        at += size
    return places


def test_of_an_mp4_every_byte_is_covered_but_the_file_type_and_the_credentials_own_box(tmp_path: Path) -> None:
    path = signed(tmp_path / "r.mp4")
    content = path.read_bytes()
    places = boxes(content)
    assert list(places) == ["ftyp", "c2pa", "moov", "free", "mdat", "uuid"]
    rng = np.random.default_rng(0)
    for name in ("moov", "free", "mdat", "uuid"):
        start, end = places[name]
        for place in {start, end - 1, *rng.integers(start, end, 60)}:
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            try:
                assert not verify(path)[1], (name, place)
            except InputError as error:
                assert "no content credentials that can be read" in str(error)


def test_damaged_credentials_are_altered_or_cannot_be_read(tmp_path: Path) -> None:
    path = signed(tmp_path / "r.mp4")
    content = path.read_bytes()
    start, end = boxes(content)["c2pa"]
    label = content.index(b"urn:c2pa:", start)  # of the manifest: what names it does not find it then
    inputs = content.index(b"iphoto.jpg", start)  # of what it was made of: a name, which becomes a list
    for place in (label, label + 9, inputs, *np.random.default_rng(1).integers(start, end, 100)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :])
        try:
            said, intact = verify(path)
            assert said[0].startswith("Not altered" if intact else "ALTERED")
        except InputError as error:
            assert "no content credentials that can be read" in str(error)


def test_what_the_signature_leaves_out_the_record_beside_it_finds(tmp_path: Path) -> None:
    path = signed(tmp_path / "r.mp4")
    content = path.read_bytes()
    record = {"settings": {}, "inputs": {}, "checkpoint": {}, "outputs": [path], "details": {}}
    sidecar = write_sidecar(path, **record)
    assert verify(path)[1]
    brand = content.index(b"isom")
    path.write_bytes(content[:brand] + b"J" + content[brand + 1 :])
    said, intact = verify(path)
    assert not intact and said[0] == "ALTERED: the file is not the one of which r.mp4.json is the record."
    start, _ = boxes(content)["c2pa"]
    for damaged in (content[: start + 60] + b"x" + content[start + 61 :], content[:start], content[:20]):
        path.write_bytes(damaged)
        said, intact = verify(path)
        assert not intact and said[0].startswith("ALTERED: the file is not the one of which r.mp4.json is the record")
    path.write_bytes(content[:brand] + b"J" + content[brand + 1 :])
    sidecar.write_text("[" * 9000)
    assert verify(path)[1], "C2PA leaves the file type box out"


@pytest.mark.parametrize(("name", "says"), [("no", "no such file"), (".", "not a regular file"), ("empty", "empty")])
def test_what_is_no_result_is_told(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(InputError, match=says):
        verify(tmp_path / name)


def test_the_command_says_it_in_words(tmp_path: Path) -> None:
    path = signed(tmp_path / "r.png")
    whole = fomm("verify", path)
    assert whole.returncode == 0 and whole.stdout.startswith("Not altered")
    path.write_bytes(path.read_bytes()[:-30] + b"x" + path.read_bytes()[-29:])
    assert fomm("verify", path).returncode != 0
    result(path)
    without = fomm("verify", path)
    assert without.returncode == 2 and "carries no content credentials" in without.stderr


def test_names_of_files_need_not_be_text(tmp_path: Path) -> None:
    path, photo = result(tmp_path / os.fsdecode(b"r\xff.png")), os.fsdecode(b"photo\xff.jpg")
    inputs = {"source": {"path": photo, "sha256": "ab" * 32}}
    sign(path, None, source_type=SYNTHETIC_COMPOSITE, inputs=inputs, checkpoint={"name": "face", "sha256": "cd" * 32})
    said, intact = verify(path.rename(tmp_path / "r.png"))
    assert intact and "Made with source photo?.jpg (sha256 abab" in " ".join(said)


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


def test_a_folder_that_keeps_no_certificate_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match="the certificate that signs results cannot be kept here.*--sign"):
        signed(tmp_path / "r.png")


def test_what_cannot_sign_is_told_before_the_work(tmp_path: Path) -> None:
    settings = AnimationSettings(sign="none.pem,none.pem")
    with pytest.raises(InputError, match="--sign"):
        outputs_of(tmp_path / "r.mp4", settings)
    assert outputs_of(tmp_path / "r.webm", settings) == [tmp_path / "r.webm"]  # carries no credentials


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: str, password: bytes | None = None) -> str:
    lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), lock).decode()


def test_keys_that_do_not_sign_are_told_before_the_work(tmp_path: Path) -> None:
    certificates, own = make_pair()
    key = serialization.load_pem_private_key(own.encode(), None)
    lines = own.splitlines()
    keys = {
        "locked": pem(key, "PKCS8", b"secret"),
        "of somebody else": pem(ec.generate_private_key(ec.SECP256R1()), "PKCS8"),
        "unknown curve": pem(ec.generate_private_key(ec.BrainpoolP512R1()), "PKCS8"),
        "other kind": pem(rsa.generate_private_key(65537, 2048), "PKCS8"),
        "damaged": "\n".join([lines[0], lines[1][::-1], *lines[2:]]),
        "cut off": own[:100],
        "empty": "",
    }
    (tmp_path / "cert.pem").write_text(certificates)
    for name, text in keys.items():
        (tmp_path / name).write_text(text)
        settings = AnimationSettings(sign=f"{tmp_path / 'cert.pem'},{tmp_path / name}")
        with pytest.raises(InputError, match=f"^--sign .*{name}: cannot sign .*without a password"):
            outputs_of(tmp_path / "r.mp4", settings)
    with pytest.raises(InputError, match="null cannot be read"):
        outputs_of(tmp_path / "r.mp4", AnimationSettings(sign=f"{tmp_path / 'cert.pem'},/dev/null"))


def test_keys_sign_in_either_form_of_pem(tmp_path: Path) -> None:
    certificates, own = make_pair()
    key = serialization.load_pem_private_key(own.encode(), None)
    (tmp_path / "cert.pem").write_text(certificates)
    (tmp_path / "key.pem").write_text(pem(key, "TraditionalOpenSSL"))
    assert "BEGIN EC PRIVATE KEY" in (tmp_path / "key.pem").read_text()
    assert verify(signed(tmp_path / "r.png", f"{tmp_path / 'cert.pem'},{tmp_path / 'key.pem'}"))[1]


def test_a_certificate_of_this_machine_that_is_damaged_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    signed(tmp_path / "r.png")
    for path in config_folder().glob("*.pem"):
        path.write_text("nothing")
    with pytest.raises(InputError, match="fomm: what is kept here cannot sign .*remove its .pem files"):
        outputs_of(tmp_path / "r.mp4", AnimationSettings())


@pytest.mark.parametrize("pair", ["one.pem", "none.pem,none.pem", "bad.pem,bad.pem"])
def test_certificates_that_will_not_do_are_told_and_nothing_is_left(tmp_path: Path, monkeypatch, pair: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.pem").write_text("nothing")
    with pytest.raises(InputError, match="--sign"):
        signed(tmp_path / "r.png", pair)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.pem", "r.png"]


def test_kinds_without_credentials() -> None:
    assert signed_ones([Path("a.gif"), Path("a.webm"), Path("frames"), Path("a.mp4")]) == [Path("a.mp4")]
