"""`python -m demo.source`: the source's own predictions, by Ultralytics itself, as one line of JSON."""

import json
import sys

from ultralytics import YOLO


def main(checkpoint: str, picture: str, confidence: str, iou: str) -> None:
    """`rect=False`: the fixed-size letterbox that an exported graph has, at the size the model was trained with."""
    model = YOLO(checkpoint)
    size = model.model.args["imgsz"]
    (result,) = model.predict(
        picture, imgsz=size, rect=False, conf=float(confidence), iou=float(iou), device="cpu", save=False, verbose=False
    )
    rows = result.boxes.data.tolist()
    found = [
        {"class": result.names[int(row[5])], "class_id": int(row[5]), "confidence": row[4], "bbox": row[:4]}
        for row in rows
    ]
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
