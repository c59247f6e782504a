"""`python litert_jobs.py FOLDER…`: the child's steps over each job's folder, in one process of the environment that has LiteRT.

What a child would say on standard output goes to FOLDER/lines.
"""

import sys
import traceback
from pathlib import Path

from export_worker import child


def run(folder: Path) -> None:
    """Leaves what the child leaves; an error is its last line."""
    with (folder / "lines").open("wb") as stream:
        reporter = child.Reporter(stream)
        try:
            child.run(folder, reporter)
        except Exception as error:
            traceback.print_exc()
            reporter.failed(error)


if __name__ == "__main__":
    for given in sys.argv[1:]:
        run(Path(given))
