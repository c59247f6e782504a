"""Bill of materials, statement and signature of packages, held against the tools of those who defined them."""

import dataclasses
import hashlib
import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import json_format
from in_toto_attestation.v1 import statement as in_toto
from in_toto_attestation.v1 import statement_pb2
from model_signing import verifying

from contracts import keys, signatures
from contracts.errors import Permanent
from packager import export_package, provenance
from packager.provenance import signing
from packager.provenance.signing import Signer

CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module", params=CURVES)
def signer(request):
    return Signer(ec.generate_private_key(CURVES[request.param]))


@pytest.fixture
async def signed(artefact, signer, tmp_path):
    return await export_package.assemble(artefact.metadata, artefact.sources(), tmp_path, signer=signer)


def laid_out(package, folder):
    for name, path in package.members.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder


def genuine(folder, signer):
    """The verifier of the OpenSSF, with our public key."""
    key = folder.parent / "key.pub"
    key.write_text(signer.public_key.pem)
    verifying.Config().use_elliptic_key_verifier(public_key=key).verify(folder, folder / keys.SIGNATURE)


async def test_the_genuine_verifier_accepts_the_signature_and_no_changed_package(signed, signer, tmp_path):
    folder = laid_out(signed, tmp_path / "laid-out" / "package")
    genuine(folder, signer)
    with pytest.raises(ValueError, match="Key mismatch"):
        genuine(folder, Signer(ec.generate_private_key(ec.SECP256R1())))
    (folder / "more.txt").write_text("more")
    with pytest.raises(ValueError, match="Extra files"):
        genuine(folder, signer)
    (folder / "more.txt").unlink()
    (folder / keys.STATEMENT).write_bytes((folder / keys.STATEMENT).read_bytes() + b" ")
    with pytest.raises(ValueError, match="Hash mismatch"):
        genuine(folder, signer)


async def test_the_same_inputs_give_the_same_signature(artefact, signer, signed, tmp_path):
    (tmp_path / "again").mkdir()
    again = await export_package.assemble(artefact.metadata, artefact.sources(), tmp_path / "again", signer=signer)
    assert again.zip.read_bytes() == signed.zip.read_bytes()


async def test_the_bill_of_materials_is_valid_and_honest(signed):
    text = signed.members[keys.SBOM].read_text()
    errors = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text, all_errors=True)
    assert errors is None, list(map(str, errors))
    found = json.loads(text)
    model = found["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["modelCard"]["modelParameters"]["task"] == "object detection"
    assert model["hashes"] == [{"alg": "SHA-256", "content": digest(signed.members["model.onnx"])}]
    assert "licenses" not in model
    parts = {part["bom-ref"]: part for part in found["components"]}
    assert parts["runtime:onnxruntime"]["licenses"] == [{"license": {"id": "MIT"}}]
    assert parts["toolchain:torch"]["purl"] == "pkg:pypi/torch@2.14.1"
    assert parts["checkpoint"]["hashes"][0]["content"] == "ab" * 32
    wanted = {f"runtime:{line.split('==')[0]}" for line in requirements(signed)}
    assert wanted <= set(parts)
    assert "timestamp" not in text


def requirements(package):
    lines = package.members["runtimes/python/requirements.txt"].read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_a_release_that_is_none_of_a_registry_and_an_unknown_licence_are_told_as_such(artefact, assemble):
    made_with = artefact.metadata.provenance
    odd = {"torch": "2.14.1+cu130", "openvino": "2026.4.1-22982-e213a/x", "secret-tool": "1.0"}
    changed = msgspec.structs.replace(made_with, toolchain=odd)
    metadata = msgspec.structs.replace(artefact.metadata, provenance=changed)
    text = (await assemble(dataclasses.replace(artefact, metadata=metadata))).members[keys.SBOM].read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    parts = {part["bom-ref"]: part for part in json.loads(text)["components"]}
    assert parts["toolchain:torch"]["purl"] == "pkg:pypi/torch@2.14.1%2Bcu130"
    assert "purl" not in parts["toolchain:openvino"]
    assert "licenses" not in parts["toolchain:secret-tool"]
    assert {"name": "modelport:licence", "value": "unknown"} in parts["toolchain:secret-tool"]["properties"]


async def test_the_statement_names_every_file_the_checkpoint_and_what_was_asked_for(signed):
    found = json.loads(signed.members[keys.STATEMENT].read_text())
    in_toto.Statement.copy_from_pb(parsed(found)).validate()
    named = {subject["name"]: subject["digest"]["sha256"] for subject in found["subject"]}
    others = set(signed.members) - {keys.STATEMENT, keys.SIGNATURE}
    assert named == {name: digest(signed.members[name]) for name in others}
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    definition = found["predicate"]["buildDefinition"]
    assert definition["externalParameters"]["export_options"]["opset_version"] == 18
    assert definition["resolvedDependencies"][0]["digest"] == {"sha256": "ab" * 32}
    assert "modelport-packager" in found["predicate"]["runDetails"]["builder"]["version"]


def parsed(found):
    return json_format.ParseDict(found, statement_pb2.Statement())


async def test_metadata_lists_all_but_itself_and_the_provenance(signed, signer):
    listed = {file.path for file in signed.metadata.files}
    assert listed == set(signed.members) - {keys.METADATA, *provenance.MADE_HERE}
    assert signed.metadata.provenance.signing_key_id == signer.key_id
    assert signer.key_id in signed.members["README.md"].read_text()
    opened = signatures.opened(signed.members[keys.SIGNATURE].read_bytes())
    assert set(signatures.digests(opened.payload)) == set(signed.members) - {keys.SIGNATURE}


async def test_a_package_without_a_key_says_that_it_is_unsigned(package):
    assert keys.SIGNATURE not in package.members
    assert package.metadata.provenance.signing_key_id == ""
    assert "**This package is unsigned**" in package.members["README.md"].read_text()
    assert {keys.SBOM, keys.STATEMENT} <= set(package.members)


@pytest.mark.parametrize("curve", CURVES)
def test_a_key_is_read_from_its_file(curve, tmp_path):
    key, path = ec.generate_private_key(CURVES[curve]), tmp_path / "key.pem"
    path.write_bytes(private_pem(key))
    path.chmod(0o600)
    assert signing.load(str(path)).public_key.curve == curve
    assert signing.load("") is None


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0o600, "cannot be read"),
        (b"no key", 0o600, "is no key"),
        (private_pem(ec.generate_private_key(ec.SECP521R1())), 0o600, "P-256 or P-384"),
        (private_pem(ec.generate_private_key(ec.SECP256R1())), 0o604, "everybody can read it"),
    ],
)
def test_a_file_that_is_no_safe_key_is_refused(content, mode, reason, tmp_path):
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    with pytest.raises(Permanent, match=reason) as caught:
        signing.load(str(path))
    assert caught.value.code == "invalid_settings"
    assert "openssl" in caught.value.hint
