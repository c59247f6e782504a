"""The bucket's tree: the design's paths, and no way out of them."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import keys
from contracts.vocabulary import ExportFormat

ID, OTHER = UUID(int=1), UUID(int=2)


def test_the_design_s_tree():
    assert keys.export_file(ID, keys.PACKAGE) == f"exports/{ID}/export-package.zip"
    assert keys.edge_package(ID) == f"edge-packages/{ID}.zip"
    assert keys.container_package(ID) == f"container-packages/{ID}.zip"
    assert keys.triton_model(ID, 1, ExportFormat.ONNX) == f"triton-models/{ID}/1/model.onnx"
    assert keys.triton_config(ID) == f"triton-models/{ID}/config.pbtxt"


def test_attempts_do_not_share_files():
    assert keys.attempt_file(ID, 1, "model.onnx") != keys.attempt_file(ID, 2, "model.onnx")
    assert keys.attempt_file(ID, 1, "x").startswith(keys.export_root(ID))


@pytest.mark.parametrize("export_format", ExportFormat)
def test_every_format_has_a_file_name(export_format):
    assert keys.MODEL_FILES[export_format].startswith("model.")


@given(st.text(min_size=1, max_size=80))
def test_an_upload_stays_in_its_owner_s_folder(filename):
    key = keys.upload(ID, OTHER, filename)
    assert key.startswith(f"uploads/{ID}/{OTHER}/")
    assert len(key.split("/")) == 4
    assert "/../" not in f"{key}/" or filename.endswith("..")
