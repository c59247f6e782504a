"""What runs in the sandbox of the chaos tests, in the place of `export_worker.child`.

A checkpoint that is an archive of finished artefacts is unpacked, stage by stage and within half a second: the outside
cannot tell it from a conversion. Any other checkpoint goes to the real converter. Standard library only; it is handed
to the interpreter as text, because the sandbox shows nothing of the tests.
"""

import json
import os
import sys
import time
import zipfile
from pathlib import Path

STAGES = ("load", "convert", "verify")
WORDS = 4
STAGE_S = 0.15
MARK = "metadata.json"


def say(**message: object) -> None:
    print(json.dumps(message), flush=True)


def archive() -> Path | None:
    """The checkpoint, where it is an archive of artefacts."""
    for path in Path("input").iterdir():
        if path.is_file() and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as opened:
                return path if MARK in opened.namelist() else None
    return None


def unpack(path: Path) -> None:
    """Leave the artefacts in output/, their metadata speaking of this job."""
    request = json.loads(Path("request.json").read_text())["request"]
    for stage in STAGES:
        for word in range(WORDS):
            say(type="progress", stage=stage, fraction=word / WORDS, message=f"{stage} {word}")
            time.sleep(STAGE_S / WORDS)
    output = Path("output")
    output.mkdir(exist_ok=True)
    with zipfile.ZipFile(path) as opened:
        opened.extractall(output)
    metadata = json.loads((output / MARK).read_text())
    metadata["model_info"] |= {name: request[name] for name in metadata["model_info"]}
    metadata |= {"runtime_wrappers": {}, "files": []}
    (output / MARK).write_text(json.dumps(metadata))
    say(type="done", durations_s=dict.fromkeys(STAGES, STAGE_S))


if __name__ == "__main__":
    say(type="ready")
    if sys.stdin.readline():
        found = archive()
        if found is None:
            os.execv(sys.executable, [sys.executable, "-m", "export_worker.child"])
        unpack(found)
