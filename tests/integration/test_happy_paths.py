"""Every framework to both formats, through the public API, real servers and the package that users get."""

import hashlib
import json
import os
import subprocess
import sys
import zipfile

import jsonschema
import pytest

from contracts.model_package import metadata_json_schema
from samples.cache import describe
from samples.recipes import NAMES

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

WRAPPER = """
import json, sys
sys.path.insert(0, "runtimes/python")
from model_wrapper import ModelWrapper
model = ModelWrapper(sys.argv[1], "metadata.json")
found = [[one.as_dict() for one in model.predict(path)] for path in sys.argv[2:]]
import processing
platform = {"contracts", "servicekit", "export_worker", "packager", "modelport"} & set(sys.modules)
print(json.dumps({"found": found, "platform": sorted(platform), "processing": processing.__file__}))
"""


@pytest.fixture(scope="module")
def trainings(owner):
    """Each sample is registered once and exported to both formats."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = owner.register(describe(name))
        return made[name]

    return get


@pytest.fixture(scope="module")
def packages(owner, trainings, tmp_path_factory):
    """`packages(sample, format)` -> (job, unpacked folder)."""
    made = {}

    def get(name, export_format):
        if (name, export_format) not in made:
            job = owner.export(trainings(name), export_format)
            assert job.status == "completed", job.error
            folder = tmp_path_factory.mktemp(f"{name}-{export_format}")
            deployment = owner.client.deployments.create(job.id, "download", "package")
            owner.client.deployments.wait(deployment.id)
            archive = owner.client.deployments.download(deployment.id, folder / "package.zip")
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(folder / "package")
            made[name, export_format] = job, folder / "package"
        return made[name, export_format]

    return get


cases = pytest.mark.parametrize(("name", "export_format"), [(n, f) for n in NAMES for f in ("onnx", "torchscript")])


@cases
def test_the_artefact_is_verified_against_its_source(packages, owner, name, export_format):
    job, _ = packages(name, export_format)
    assert job.proof == "verified"
    assert job.progress_percent == 100
    parity = job.parity
    assert parity.inputs >= 32
    assert 2 * parity.non_square_inputs >= parity.inputs
    assert parity.predictions_matched == parity.predictions_source > 0
    assert all(output.max_abs <= output.max_abs_allowed for output in parity.outputs)
    assert owner.client.exports.report(job.id)["summary"]["proof"] == "verified"
    assert owner.client.exports.log(job.id)


@cases
def test_the_package_is_whole_and_says_what_it_is(packages, name, export_format):
    job, folder = packages(name, export_format)
    metadata = json.loads((folder / "metadata.json").read_bytes())
    jsonschema.Draft202012Validator(metadata_json_schema()).validate(metadata)
    assert metadata["model_info"]["export_format"] == export_format
    assert [c["name"] for c in metadata["classes"]] == list(describe(name).recipe.classes)
    assert (folder / metadata["model_file"]).stat().st_size == job.model_size_bytes
    for file in metadata["files"]:
        content = (folder / file["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file["size_bytes"], file["sha256"]), file["path"]
    assert (folder / "README.md").stat().st_size > 500


@cases
def test_the_package_s_own_wrapper_predicts(packages, pictures, name, export_format):
    """From the package's own files: nothing of the platform is imported, not even by accident."""
    _, folder = packages(name, export_format)
    metadata = json.loads((folder / "metadata.json").read_bytes())
    command = [sys.executable, "-c", WRAPPER, metadata["model_file"], *map(str, pictures)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MODELPORT_", "PYTHON"))}
    ran = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])
    assert said["platform"] == []
    assert said["processing"].startswith(str(folder))
    found = said["found"]
    names = {c["name"] for c in metadata["classes"]}
    assert len(found) == len(pictures)
    assert {prediction["class_name"] for predictions in found for prediction in predictions} <= names
    assert sum(map(len, found)) > 0


def test_the_same_request_gives_the_same_bytes(owner, trainings, packages, tmp_path):
    first, folder = packages("digits-timm", "onnx")
    again = owner.export(trainings("digits-timm"), "onnx")
    deployment = owner.client.deployments.create(again.id, "download", "again")
    owner.client.deployments.wait(deployment.id)
    archive = owner.client.deployments.download(deployment.id, tmp_path / "again.zip")
    assert again.version > first.version
    with zipfile.ZipFile(archive) as opened:
        model = json.loads((folder / "metadata.json").read_bytes())["model_file"]
        assert opened.read(model) == (folder / model).read_bytes()


def test_embedded_preprocessing_can_be_turned_off(owner, trainings):
    job = owner.export(trainings("digits-timm"), "onnx", embed_preprocessing=False)
    assert job.status == "completed", job.error
    assert job.proof == "verified"


def test_nms_inside_the_graph(owner, detector_training):
    job = owner.export(detector_training, "onnx", embed_nms=True)
    assert job.status == "completed", job.error
    assert job.proof == "verified"
