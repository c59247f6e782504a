"""metadata.json that is not understood is refused by the name of its field."""

import pytest

from processing.errors import MetadataError
from processing.pipeline import Pipeline

from .samples import metadata


@pytest.mark.parametrize(
    ("changes", "field", "hint"),
    [
        ({"schema_version": 2}, "schema_version", "known: 1"),
        ({"schema_version": True}, "schema_version", "known: 1"),
        ({"preprocessing__resize__kernel": "area"}, "preprocessing.resize.kernel", "cv2_linear_u8"),
        ({"preprocessing__resize__method": "fit"}, "preprocessing.resize.method", "letterbox"),
        ({"preprocessing__resize__size": [64]}, "preprocessing.resize.size", "height, width"),
        ({"preprocessing__resize__size": [64, 0]}, "preprocessing.resize.size.1", "from 1"),
        ({"preprocessing__resize__fill_value": 300}, "preprocessing.resize.fill_value", "to 255"),
        ({"preprocessing__normalize__std": [1, 0, 1]}, "preprocessing.normalize.std", "zero"),
        ({"preprocessing__normalize__mean": [1, "a", 1]}, "preprocessing.normalize.mean.1", "number"),
        ({"preprocessing__normalize__embedded": True}, "preprocessing.format.dtype", "uint8"),
        ({"preprocessing__format__dtype": "float16"}, "preprocessing.format.dtype", "float32"),
        ({"preprocessing__format__color_space": "HSV"}, "preprocessing.format.color_space", "RGB"),
        ({"postprocessing__decoder": "detr"}, "postprocessing.decoder", "yolo_v8"),
        ({"postprocessing__nms__iou_threshold": 45}, "postprocessing.nms.iou_threshold", "to 1"),
        ({"postprocessing": None}, "postprocessing", "missing"),
        ({"classes": None}, "classes", "list"),
        ({"classes": [{"id": 0}]}, "classes[0].name", "missing"),
        ({"output_spec": {}}, "output_spec", "at least one"),
        ({"input_spec": {"shape": []}}, "input_spec.name", "missing"),
    ],
)
def test_metadata_that_is_not_understood_is_refused_by_field(changes, field, hint):
    with pytest.raises(MetadataError) as error:
        Pipeline.from_metadata(metadata(**changes))
    assert error.value.field == field
    assert hint in str(error.value)


def test_unknown_fields_are_tolerated():
    assert Pipeline.from_metadata(metadata(preprocessing__resize__later=1)).input_name == "images"
