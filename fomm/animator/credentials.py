"""Content credentials (C2PA): a result says, signed, what it is and what it was made of; a change of it is found.

Who signs is known only where somebody else vouches for the certificate. The one that is made on this machine proves
that a file is as it was when it was written, not whose it is.
"""

from __future__ import annotations

import io
import json
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

import c2pa
import filelock
import platformdirs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from PIL import Image

from fomm.animator.provenance import recorded_hash, sidecar_path
from fomm.errors import InputError
from fomm.files import atomic_output, hash_file
from fomm.version import __version__
from fomm.video import SYNTHETIC_COMPOSITE
from fomm.video.pictures import local_file

SIGNED = (".mp4", ".mov", ".jpg", ".jpeg", ".png")
"""Kinds of file that carry credentials; of the others the sidecar is all there is."""
INPUTS = "org.fomm.inputs"  # assertion: names and hashes
DAYS = 3650
_PEM = {"encoding": serialization.Encoding.PEM}


def sign(
    path: Path,
    pair: str | None,
    *,
    source_type: str,
    inputs: Mapping[str, Mapping[str, str]],
    checkpoint: Mapping[str, Any],
) -> None:
    """Sign a result in its place.

    Args:
        path: of a kind in `SIGNED`.
        pair: "cert.pem,key.pem" of the user's; None: the certificate that was made on this machine.
        source_type: address of the IPTC digital source type.
        inputs: role -> path and sha256 of what it was made of.
        checkpoint: name and sha256 of the weights.

    Raises:
        InputError: certificate or key cannot be used, or the file cannot be written.
    """
    named = {role: {"name": Path(one["path"]).name, "sha256": one["sha256"]} for role, one in inputs.items()}
    kind = mimetypes.guess_type(path.name)[0]
    assert kind is not None, "kinds in SIGNED have one"
    manifest = {
        "claim_generator_info": [{"name": "fomm", "version": __version__}],
        "title": path.name,
        "format": kind,
        "ingredients": [
            {
                "title": f"{role}: {one['name']}",
                "format": mimetypes.guess_type(one["name"])[0] or "application/octet-stream",
                "instance_id": f"sha256:{one['sha256']}",
                "relationship": "inputTo",
            }
            for role, one in named.items()
        ],
        "assertions": [
            _created(source_type),
            {
                "label": INPUTS,
                "data": {**named, "checkpoint": {"name": checkpoint["name"], "sha256": checkpoint["sha256"]}},
            },
        ],
    }
    with atomic_output(path) as part, _Output(part, "w+") as output:
        try:
            with open(path, "rb") as original, io.BufferedRandom(output) as signed:
                _sign(original, signed, kind, manifest, pair)
        except InputError:
            if output.failure:
                raise output.failure from None
            raise


def check_signing(pair: str | None) -> None:
    """Sign a picture of one pixel: a certificate that will not do is told before the work, and not after it.

    Raises:
        InputError: as `sign`.
    """
    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "PNG")
    pixel.seek(0)
    _sign(pixel, io.BytesIO(), "image/png", {"assertions": [_created(SYNTHETIC_COMPOSITE)]}, pair)


def _created(source_type: str) -> dict[str, Any]:
    action = {"action": "c2pa.created", "digitalSourceType": source_type}
    return {"label": "c2pa.actions", "data": {"actions": [action]}}


def _sign(original: IO[bytes], signed: IO[bytes], kind: str, manifest: Mapping[str, Any], pair: str | None) -> None:
    certificates, key = signing_pair(pair)
    try:
        algorithm, key = _usable(key)
        signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(algorithm, certificates.encode(), key.encode(), None))
        text = json.dumps(manifest, ensure_ascii=False).encode(errors="replace").decode()  # names of files may be none
        c2pa.Builder(text).sign(signer, kind, original, signed)
    except (c2pa.C2paError, ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: the key is encrypted
        ours = f"{config_folder()}: what is kept here cannot sign ({error}); remove its .pem files, and it is made anew"
        raise InputError(
            f"--sign {pair}: cannot sign ({error}); give a certificate for signing content (its chain, leaf first) and "
            "its private key without a password, both PEM"
            if pair
            else ours
        ) from error


class _Output(io.FileIO):
    """A file that remembers why it could not be written: the library says so in words of its own, or in none."""

    failure: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            raise


def verify(path: Path) -> tuple[list[str], bool]:
    """What a file claims and whether it was altered, in sentences; and whether it is as it was when it was signed.

    C2PA leaves out names, lengths and padding of its own box, and of an mp4 the file type box. The record beside a
    result, where it is, has the hash of all bytes.

    Raises:
        InputError: the file is not there, or carries no credentials that can be read.
    """
    local_file(path)
    recorded = recorded_hash(path)
    changed = recorded not in (None, hash_file(path))
    unlike = f"ALTERED: the file is not the one of which {sidecar_path(path).name} is the record"
    try:
        with c2pa.Reader(path) as reader:
            report, state = json.loads(reader.json()), reader.get_validation_state()
        manifest = report["manifests"][report["active_manifest"]]
    except (c2pa.C2paError, KeyError) as error:
        if changed:
            return [f"{unlike}; it carries no content credentials that can be read."], False
        reason = "they are damaged" if isinstance(error, KeyError) else error
        raise InputError(
            f"{path}: carries no content credentials that can be read ({reason}); a .json file beside it may say more"
        ) from error
    failures = report.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    broken = [one for one in failures if one.get("code") != "signingCredential.untrusted"]
    intact = str(state) in ("Valid", "Trusted") and not broken
    said = []
    if intact and changed:
        intact = False
        said.append(f"{unlike}.")
    elif intact:
        said.append("Not altered: the file is as it was when it was signed.")
    else:
        said.append(
            "ALTERED: the file is not what was signed" + "".join(f" ({one['code']})" for one in broken[:1]) + "."
        )
    signature = manifest.get("signature_info", {})
    who = signature.get("common_name") or signature.get("issuer") or "nobody named"
    trusted = str(state) == "Trusted"
    vouched = "someone known vouches for it" if trusted else "nobody vouches for it, so it proves no identity"
    said.append(f"Signed by a certificate that names {who}; {vouched}.")
    try:
        said += _claims(manifest)
    except (AttributeError, KeyError, TypeError):  # of an altered file, or of somebody else's program
        said.append("What it claims is not written as such claims are, and cannot be read.")
    return said, intact


def _claims(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What a manifest says of how a file was made, in sentences.

    Its assertions may be anything: AttributeError, KeyError or TypeError where they are not written as ours are.
    """
    for assertion in manifest.get("assertions", []):
        for action in assertion["data"].get("actions", ()) if assertion["label"].startswith("c2pa.actions") else ():
            kind = str(action.get("digitalSourceType", "")).rsplit("/", 1)[-1]
            yield f"Claims: {action['action'].removeprefix('c2pa.')}, digital source type {kind or 'not said'}."
        if assertion["label"] == INPUTS:
            for role, one in assertion["data"].items():
                yield f"Made with {role} {one['name']} (sha256 {one['sha256']})."


def config_folder() -> Path:
    """Where this machine's certificate is kept: the user's own folder for settings."""
    return platformdirs.user_config_path("fomm")


def signing_pair(pair: str | None) -> tuple[str, str]:
    """Certificates and key (PEM) that sign: of "cert.pem,key.pem", or of this machine.

    Raises:
        InputError: they are not there, or cannot be made.
    """
    return user_pair(pair) if pair else own_pair()


def own_pair() -> tuple[str, str]:
    """Certificates and key (PEM) of this machine; made when first needed.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = config_folder()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    if not (certificate.is_file() and key.is_file()):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with filelock.FileLock(folder / ".lock"):  # the two belong together
                if not (certificate.is_file() and key.is_file()):
                    for path, text in zip((certificate, key), make_pair(), strict=True):
                        with atomic_output(path) as part:
                            part.touch(mode=0o600)
                            part.write_text(text)
        except OSError as error:
            raise InputError(
                f"{folder}: the certificate that signs results cannot be kept here ({error.strerror}); make the folder "
                "writable, or give one of yours with --sign cert.pem,key.pem"
            ) from error
    return user_pair(f"{certificate},{key}")


def user_pair(pair: str) -> tuple[str, str]:
    """Contents of "cert.pem,key.pem".

    Raises:
        InputError: not two files, or one cannot be read.
    """
    names = pair.split(",")
    if len(names) != 2:
        raise InputError(f"--sign {pair}: give two files with a comma between: certificate and private key")
    certificates, key = (_read_pem(pair, Path(name.strip())) for name in names)
    return certificates, key


def _read_pem(pair: str, path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise OSError(0, "no regular file")  # it is read twice: before the work and after it
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"--sign {pair}: {path} cannot be read ({getattr(error, 'strerror', None) or 'no PEM file'}); give two "
            "files with a comma between: certificate and private key"
        ) from error


def make_pair() -> tuple[str, str]:
    """A certificate for signing content with the authority that vouches for it (which nobody knows), and its key."""
    now = datetime.now(timezone.utc) - timedelta(minutes=5)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [_name(f"fomm, {what} made on this machine") for what in ("authority", "certificate")]
    chain: list[x509.Certificate] = []
    for number, (key, name) in enumerate(zip(keys, names, strict=True)):
        is_leaf = number == 1
        usage = dict.fromkeys(
            "content_commitment key_encipherment data_encipherment key_agreement encipher_only decipher_only".split(),
            False,
        )
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=DAYS))
            .add_extension(x509.BasicConstraints(ca=not is_leaf, path_length=None), critical=True)
            .add_extension(
                x509.KeyUsage(digital_signature=is_leaf, key_cert_sign=not is_leaf, crl_sign=not is_leaf, **usage),
                critical=True,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )
        if is_leaf:
            built = built.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        chain.insert(0, built.sign(keys[0], hashes.SHA256()))
    return "".join(one.public_bytes(**_PEM).decode() for one in chain), _unlocked(keys[1])


def signed_ones(paths: Sequence[Path]) -> list[Path]:
    """Those of the results that can carry credentials."""
    return [path for path in paths if path.suffix.lower() in SIGNED]


def _name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "fomm"), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def _usable(key: str) -> tuple[str, str]:
    """By which algorithm a private key (PEM) signs, and the key in the one form that the library reads."""
    private = serialization.load_pem_private_key(key.encode(), None)
    algorithm = None
    if isinstance(private, ec.EllipticCurvePrivateKey):
        algorithm = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}.get(private.curve.name)
    elif isinstance(private, ed25519.Ed25519PrivateKey):
        algorithm = "ed25519"
    elif isinstance(private, rsa.RSAPrivateKey):
        algorithm = "ps256"
    if algorithm is None:
        raise ValueError("a key of a kind that C2PA does not know")
    return algorithm, _unlocked(private)


def _unlocked(key: PrivateKeyTypes) -> str:
    return key.private_bytes(
        format=serialization.PrivateFormat.PKCS8, encryption_algorithm=serialization.NoEncryption(), **_PEM
    ).decode()
