"""The Python wrapper's public face: kinds of pictures, batches, typed answers, an end."""

import importlib
import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import onnx
import pytest
from PIL import Image

from packager import metadata as packaged
from packager.runtimes.python import model_backends
from processing.errors import ImageError, MetadataError, OptionError, ProcessingError
from processing.predictions import Prediction

SIZES = ((40, 90), (61, 33), (32, 48), (1, 64), (20, 120))


@pytest.fixture(scope="module")
def wrapper_class():
    """The class, with its neighbour importable under the name that it has in a package."""
    patch = pytest.MonkeyPatch()
    patch.setitem(sys.modules, "model_backends", model_backends)
    yield importlib.import_module("packager.runtimes.python.model_wrapper").ModelWrapper
    patch.undo()


@pytest.fixture
def load(wrapper_class, make, tmp_path):
    """`load(detects, batch)`: a tiny model whose file takes `batch` pictures at once (0: any number)."""

    def loaded(detects=False, batch=1):
        artefact = make(detects=detects)
        model = onnx.load(artefact.files["model.onnx"])
        for value in (*model.graph.input, *model.graph.output):
            side = value.type.tensor_type.shape.dim[0]
            side.ClearField("dim_value")
            if batch:
                side.dim_value = batch
        onnx.save(model, tmp_path / "model.onnx")
        spec = msgspec.structs.replace(artefact.metadata.input_spec, shape=(batch or -1, 3, 32, 48))
        described = msgspec.structs.replace(artefact.metadata, input_spec=spec)
        (tmp_path / "metadata.json").write_bytes(packaged.encode(described))
        return wrapper_class(tmp_path / "model.onnx", tmp_path / "metadata.json")

    return loaded


def pictures():
    return [np.random.default_rng(n).integers(60, 256, (*size, 3), np.uint8) for n, size in enumerate(SIZES)]


def test_answers_are_typed_and_ready_for_json(load):
    (best, *rest) = load().predict(pictures()[0])
    assert isinstance(best, Prediction)
    assert best.bbox is None
    assert best.confidence >= rest[0].confidence
    assert json.loads(json.dumps(best.as_dict()))["class_name"] == best.class_name


@pytest.mark.parametrize("batch", [1, 0, 2, 3, 8])
def test_a_batch_gives_what_one_by_one_gives(load, batch):
    model = load(batch=batch)
    asked = []
    run, model._run = model._run, lambda tensor: asked.append(len(tensor)) or run(tensor)
    together = model.predict_batch(pictures())
    assert asked == {1: [1] * 5, 0: [5], 2: [2, 2, 2], 3: [3, 3], 8: [8]}[batch]
    single = [model.predict(picture) for picture in pictures()]
    assert len({str(found) for found in single}) == len(SIZES)
    for one, other in zip(together, single, strict=True):
        assert [p.class_id for p in one] == [p.class_id for p in other]
        np.testing.assert_allclose([p.confidence for p in one], [p.confidence for p in other], rtol=1e-6)
    assert model.predict_batch([]) == []


def test_a_batch_is_no_larger_than_the_model_takes(load):
    model = load(batch=0)
    model.batch_size = 2
    asked = []
    run, model._run = model._run, lambda tensor: asked.append(len(tensor)) or run(tensor)
    assert len(model.predict_batch(pictures())) == 5
    assert asked == [2, 2, 1]


def test_a_model_that_answers_for_another_number_of_pictures_is_told(load):
    model = load(batch=0)
    run, model._run = model._run, lambda tensor: run(tensor[:1])
    with pytest.raises(MetadataError, match="1 rows for 5 pictures"):
        model.predict_batch(pictures())


def test_a_picture_is_a_file_bytes_pixels_or_pillows(load, tmp_path):
    model, pixels = load(detects=True), pictures()[0]
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    expected = model.predict(pixels)
    assert expected
    for same in (path, str(path), path.read_bytes(), Image.open(path), Image.fromarray(pixels).convert("RGBA")):
        assert model.predict(same) == expected
    for wrong in (pixels[..., 0], pixels.astype(np.float32), pixels[None]):
        with pytest.raises(ImageError, match="uint8"):
            model.predict(wrong)


@pytest.mark.parametrize("orientation", [0, 1, 3, 6, 8, 77])
def test_pillows_picture_stands_as_its_file_does(load, orientation):
    model, data = load(), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pictures()[0]).save(data, "PNG", exif=exif)
    tensor, geometry = model.preprocess(data.getvalue())
    again, place = model.preprocess(Image.open(data))
    assert np.array_equal(tensor, again)
    assert geometry == place


def test_sixteen_bits_of_grey_are_those_of_the_file(load):
    model, data = load(), io.BytesIO()
    Image.fromarray(np.arange(30 * 40, dtype=np.uint16).reshape(30, 40) * 50).save(data, "PNG")
    assert np.array_equal(model.preprocess(data.getvalue())[0], model.preprocess(Image.open(data))[0])


def test_the_parts_are_the_whole(load):
    model, picture = load(detects=True), pictures()[1]
    tensor, geometry = model.preprocess(picture)
    options = {"confidence_threshold": 0.2, "iou_threshold": 0.9, "max_detections": 1}
    found = model.postprocess(model.run(tensor), geometry, **options)
    assert found == model.predict(picture, **options)
    assert len(found) == 1


def test_options_without_meaning_are_refused(load):
    with pytest.raises(OptionError, match="top_k"):
        load(detects=True).predict(pictures()[0], top_k=3)
    with pytest.raises(TypeError, match="conf"):
        load(detects=True).predict(pictures()[0], conf=0.3)


def test_a_closed_model_says_so(load):
    with load() as model:
        assert model.predict(pictures()[0])
    with pytest.raises(ProcessingError, match="closed"):
        model.predict(pictures()[0])
    model.close()


def test_threads_share_a_model(load):
    model = load(detects=True)
    expected = [model.predict(picture) for picture in pictures()]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(model.predict, pictures() * 8)) == expected * 8
