"""`python packaged_predict.py`: for each line on standard input, a package's own wrapper on an archive of pictures.

A line is {"package", "pictures", "answers"}; the predictions are written to `answers`, then a line says "done".
"""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np

THRESHOLDS = {"confidence_threshold": 0.001, "max_detections": 300}
"""What leaves the doubtful in. No overlap is named: models that need no suppression would suppress by it."""
OPTIONS = {"image_classification": {"top_k": 1}, "semantic_segmentation": {}}


def run(package: Path, pictures: Path) -> list[object]:
    """Predictions of every picture, by the wrapper that lies in the package."""
    code = package / "runtimes" / "python"
    sys.path.insert(0, str(code))
    spec = spec_from_file_location("packaged_wrapper", code / "model_wrapper.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    wrapper = module.ModelWrapper()
    options = OPTIONS.get(wrapper.metadata["model_info"]["task_type"], THRESHOLDS)
    with np.load(pictures) as archive:
        found = wrapper.predict_batch([archive[name] for name in archive.files], **options)
    return [[prediction.as_dict() for prediction in one] for one in found]


if __name__ == "__main__":
    for line in sys.stdin:
        job = json.loads(line)
        answers = run(Path(job["package"]), Path(job["pictures"]))
        Path(job["answers"]).write_text(json.dumps(answers))
        print("done", flush=True)
