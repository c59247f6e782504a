"""The public keys that the gateway tells."""

from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from contracts.errors import Permanent
from contracts.signing_keys import public_keys
from gateway.settings import Settings
from gateway.signing_keys import load
from gateway.testing.outside import Gateway


def public_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def pems() -> list[str]:
    return [public_pem(ec.generate_private_key(curve)) for curve in (ec.SECP256R1(), ec.SECP384R1())]


def test_the_first_key_of_the_file_is_the_current_one(pems: list[str], tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    path.write_text("# rotated\n".join(pems))
    found = load(str(path)).items
    assert [(key.curve, key.is_current, key.public_key) for key in found] == [
        ("P-256", True, pems[0]),
        ("P-384", False, pems[1]),
    ]
    assert load("").items == ()


def private() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        ("", "no public key"),
        (private(), "private key"),
        (public_pem(ec.generate_private_key(ec.SECP521R1())), "another kind"),
        (public_pem(ec.generate_private_key(ec.SECP256R1())).replace("M", "!", 1), "damaged"),
        (public_pem(ec.generate_private_key(ec.SECP256R1())) * 2, "twice"),
    ],
)
def test_a_file_that_holds_anything_else_is_refused(content: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "keys.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(Permanent, match=reason) as caught:
        load(str(path))
    assert caught.value.code == "invalid_settings"
    assert "MODELPORT_SIGNING_PUBLIC_KEYS_FILE" in caught.value.message


def test_the_name_of_a_key_is_that_of_the_same_key_written_otherwise(pems: list[str]) -> None:
    wide = pems[0].replace("\n", "\r\n").replace("-----END", "\n\n-----END")
    assert public_keys(wide) == public_keys(pems[0])


@pytest.fixture
def settings(settings: Settings, pems: list[str], tmp_path: Path) -> Settings:
    """Those of a platform that signs."""
    path = tmp_path / "published.pem"
    path.write_text("".join(pems))
    return msgspec.structs.replace(settings, signing_public_keys_file=str(path))


@pytest.mark.integration
async def test_users_are_told_the_keys_and_who_signed_their_package(gateway: Gateway, pems: list[str]) -> None:
    client = await gateway.tenant()
    found = await client.get("/api/v1/signing-keys")
    assert [key["public_key"] for key in found["items"]] == pems
    job = await gateway.completed(client)
    metadata = await client.get(f"/api/v1/export/jobs/{job['id']}/metadata")
    assert metadata["provenance"]["signing_key_id"] == job["signing_key_id"] == ""
    assert metadata["model_info"]["export_format"] == "onnx"
    stranger = await gateway.tenant()
    assert (await stranger.send("GET", f"/api/v1/export/jobs/{job['id']}/metadata")).status_code == 404
    waiting = await gateway.export(client, (await gateway.training(client))["id"])
    assert waiting["signing_key_id"] is None
    answer = await client.send("GET", f"/api/v1/export/jobs/{waiting['id']}/metadata")
    assert answer.json()["detail"] == "The job has no package yet."
