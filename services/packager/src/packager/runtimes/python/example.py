"""Predictions of pictures as JSON, one line a picture: `python example.py picture.jpg [another.png …]`."""

import argparse
import json
import sys

from model_wrapper import ModelWrapper


def main() -> int:
    """0, or 1 with a sentence on stderr for what cannot be read or done."""
    parser = argparse.ArgumentParser(
        description="Runs this package's model on pictures and prints a JSON list for each."
    )
    parser.add_argument("pictures", nargs="+", metavar="picture", help="a JPEG, PNG, WebP or BMP file")
    parser.add_argument("--model", help="the model file, by default the package's")
    parser.add_argument("--metadata", help="its metadata.json, by default the package's")
    parser.add_argument("--confidence-threshold", type=float)
    parser.add_argument("--iou-threshold", type=float, help="detectors only")
    parser.add_argument("--max-detections", type=int, help="not for classifiers")
    parser.add_argument("--top-k", type=int, help="classifiers only")
    asked = vars(parser.parse_args())
    pictures, files = asked.pop("pictures"), [asked.pop(name) for name in ("model", "metadata")]
    try:
        with ModelWrapper(*files) as model:
            for found in model.predict_batch(pictures, **asked):
                print(json.dumps([prediction.as_dict() for prediction in found], ensure_ascii=False))
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
