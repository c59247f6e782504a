"""Predictions of one picture as JSON: `python example.py picture.jpg`."""

import argparse
import json
import sys

from model_wrapper import ModelWrapper


def main() -> int:
    """0, or 1 with a sentence on stderr for what cannot be read or done."""
    parser = argparse.ArgumentParser(description="Runs this package's model on one picture and prints JSON.")
    parser.add_argument("picture", help="a JPEG, PNG, WebP or BMP file")
    parser.add_argument("--model", help="the model file, by default the package's")
    parser.add_argument("--metadata", help="its metadata.json, by default the package's")
    parser.add_argument("--confidence-threshold", type=float)
    parser.add_argument("--iou-threshold", type=float, help="detectors only")
    parser.add_argument("--max-detections", type=int, help="detectors only")
    parser.add_argument("--top-k", type=int, help="classifiers only")
    options = parser.parse_args()
    try:
        model = ModelWrapper(options.model, options.metadata)
        predictions = model.predict(
            options.picture,
            confidence_threshold=options.confidence_threshold,
            iou_threshold=options.iou_threshold,
            max_detections=options.max_detections,
            top_k=options.top_k,
        )
    except (OSError, ValueError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    lines = [json.dumps(prediction, ensure_ascii=False) for prediction in predictions]
    print("[\n  " + ",\n  ".join(lines) + "\n]" if lines else "[]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
