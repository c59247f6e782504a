"""What a step finds inside its sandbox beside the interpreter and /usr: our packages, the toolchains' variables, a GPU."""

import importlib.util
from pathlib import Path

from export_worker.toolchains import step_devices
from servicekit.sandbox.bubblewrap import TMP_VARIABLE, Seen

PACKAGES = ("contracts", "processing", "export_worker")
VARIABLES = {
    "YOLO_AUTOINSTALL": "false",
    "YOLO_OFFLINE": "true",
    "YOLO_CONFIG_DIR": TMP_VARIABLE,
    "HF_HUB_OFFLINE": "1",
    "HF_HOME": f"{TMP_VARIABLE}/hf",
    "MPLCONFIGDIR": f"{TMP_VARIABLE}/mpl",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
"""No downloads, and caches inside the job."""


def by_steps() -> Seen:
    """What every step of this worker sees; asks the machine for its GPU."""
    return Seen(paths=_package_roots(), devices=step_devices(), variables=tuple(VARIABLES.items()))


def _package_roots() -> tuple[str, ...]:
    """Folders on the module path that hold our own packages (an editable install keeps them outside the environment)."""
    roots = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            roots.append(str(Path(next(iter(spec.submodule_search_locations))).parent))
    return tuple(roots)
