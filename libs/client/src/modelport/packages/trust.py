"""The public keys whose packages this user trusts: given, or saved earlier; and whether one of them made a signature."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from contracts import signatures
from contracts.signing_keys import PublicKey, public_keys
from modelport.errors import ClientError
from modelport.packages.errors import PackageError

FILE = "trusted-keys.pem"
GET_A_KEY = (
    "Get the key from whoever makes your packages: `modelport keys --save` asks your gateway, --key FILE names a file."
)


def trusted_file(environ: Mapping[str, str]) -> Path:
    """Where trusted keys are kept, one below another."""
    home = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".config")
    return Path(home) / "modelport" / FILE


def trusted(files: Sequence[Path], environ: Mapping[str, str]) -> tuple[PublicKey, ...]:
    """The keys of these files, or without any those saved earlier; raises ClientError for a file that holds none."""
    if files:
        return tuple(key for file in files for key in read(file))
    saved = trusted_file(environ)
    return read(saved) if saved.exists() else ()


def read(file: Path) -> tuple[PublicKey, ...]:
    """The public keys of one file; raises ClientError."""
    try:
        return public_keys(file.read_text(encoding="ascii"))
    except OSError as error:
        raise ClientError(f"{file} cannot be read: {error.strerror}.", GET_A_KEY) from error
    except ValueError as error:
        raise ClientError(f"{file} holds no keys to trust: {error}.", GET_A_KEY) from error


def save(keys: Iterable[PublicKey], environ: Mapping[str, str]) -> tuple[Path, tuple[PublicKey, ...]]:
    """Trust these keys from now on, beside those that are trusted already; the file, and which of them are new."""
    target = trusted_file(environ)
    known = {key.key_id: key for key in trusted((), environ)}
    new = tuple(key for key in keys if key.key_id not in known)
    if new:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        draft.write_text("".join(key.pem for key in (*known.values(), *new)), encoding="ascii")
        draft.replace(target)
    return target, new


def signed_digests(data: bytes, keys: Sequence[PublicKey]) -> tuple[PublicKey, dict[str, str]]:
    """Who signed, and the SHA-256 in hex of every file by its path; `data` is `provenance/model.sig`.

    Raises PackageError for a signature that none of `keys` made.
    """
    try:
        opened = signatures.opened(data)
        key = next((key for key in keys if key.key_id == opened.key_id), None)
        if key is None:
            raise _unknown(opened.key_id, keys)
        _verify(key, opened)
        return key, signatures.digests(opened.payload)
    except ValueError as error:
        raise PackageError(f"The signature is damaged: {error}.") from error


def _unknown(key_id: str, keys: Sequence[PublicKey]) -> PackageError:
    known = f"known are {', '.join(key.key_id[:16] for key in keys)}" if keys else "you trust no key yet"
    return PackageError(f"It is signed by the key {key_id}, which you do not trust; {known}.", GET_A_KEY)


def _verify(key: PublicKey, opened: signatures.Opened) -> None:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:
        sentence = "Signatures cannot be checked without the library cryptography."
        raise ClientError(sentence, 'Install it with: pip install "modelport[verify]"') from error
    public = load_pem_public_key(key.pem.encode())
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise PackageError(f"The key {key.key_id} is no key of an elliptic curve.")
    algorithm = ec.ECDSA(hashes.SHA256() if key.curve == "P-256" else hashes.SHA384())
    try:
        public.verify(opened.signature, signatures.pae(opened.payload), algorithm)
    except InvalidSignature as error:
        raise PackageError(f"The signature is not one of the key {key.key_id}: the package was changed.") from error
