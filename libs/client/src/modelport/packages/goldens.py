"""Runs a package's own `verify.py`, of a copy whose every byte was hashed while it was written."""

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from modelport.packages import sources
from modelport.packages.errors import PackageError
from modelport.packages.report import Check, Outcome
from modelport.packages.sources import Source

NAME = "golden vectors"
FOLDER = "runtimes/python"
VERIFY, REQUIREMENTS = f"{FOLDER}/verify.py", f"{FOLDER}/requirements.txt"
LIMIT_S = 3600.0
PROBE_S = 120.0
REQUIREMENTS_BYTES = 1 << 16
_OPTIONS = ("-E", "-s", "-B")
"""Nothing of the user's own environment is imported, nothing is written beside the sources."""
_KEPT = frozenset(
    {
        "PATH",
        "HOME",
        "USERPROFILE",
        "TMPDIR",
        "TEMP",
        "TMP",
        "LANG",
        "SYSTEMROOT",
        "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
    }
)
_KEPT_FAMILIES = ("LC_", "CUDA_", "OMP_")
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:==([^\s;#]+))?")
_PROBE = """
import importlib.metadata, json, sys
def release(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
print(json.dumps({name: release(name) for name in sys.argv[1:]}))
"""


def check(source: Source, digests: Mapping[str, str], python: str, environ: Mapping[str, str]) -> Check:
    """Run the golden vectors with `python`; `digests` are of all files, and were signed.

    Not run, with what is missing by name, where that Python has not what the package requires.
    """
    if VERIFY not in source.sizes:
        return _not_run("the package has no Python wrapper", "Run the `verify` of a language that it has.")
    wanted = _requirements(source)
    found = _installed(python, wanted, environ)
    if missing := [f"{name}=={release}" if release else name for name, release in wanted.items() if not found[name]]:
        hint = f"Install them with: {python} -m pip install {' '.join(missing)} — or name another Python with --run-in."
        return _not_run(f"{python} lacks {', '.join(missing)}", hint)
    others = [
        f"{name} {found[name]} in place of {release}"
        for name, release in wanted.items()
        if _differs(found[name], release)
    ]
    with tempfile.TemporaryDirectory(prefix="modelport-verify-", ignore_cleanup_errors=True) as folder:
        _copy(source, digests, Path(folder))
        return _run(python, Path(folder), environ, f" ({'; '.join(others)})" if others else "")


def _requirements(source: Source) -> dict[str, str]:
    """Names and releases of `requirements.txt`."""
    text = sources.whole(source, REQUIREMENTS, REQUIREMENTS_BYTES).decode()
    return {found[1]: found[2] or "" for line in text.splitlines() if (found := _REQUIREMENT.match(line))}


def _installed(python: str, names: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str | None]:
    try:
        done = subprocess.run(
            [python, "-I", "-c", _PROBE, *names],
            env=_environment(environ),
            capture_output=True,
            timeout=PROBE_S,
            check=True,
        )
        return msgspec.json.decode(done.stdout, type=dict[str, str | None])
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        raise PackageError(f"{python} is no Python that can be run: {error}.", "Name one with --run-in.") from error


def _differs(found: str | None, release: str) -> bool:
    return bool(release) and (found or "").partition("+")[0] != release.partition("+")[0]


def _copy(source: Source, digests: Mapping[str, str], folder: Path) -> None:
    """The files below `folder`; raises PackageError where one has changed since it was checked."""
    for name in source.sizes:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with target.open("xb") as file:
            for piece in source.pieces(name):
                digest.update(piece)
                file.write(piece)
        if name in digests and digest.hexdigest() != digests[name]:
            raise PackageError(f"{name} was changed while it was being checked.")


def _run(python: str, folder: Path, environ: Mapping[str, str], remark: str) -> Check:
    command = [python, *_OPTIONS, str(folder / VERIFY), str(folder)]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check(name=NAME, outcome=Outcome.FAILED, detail=f"verify.py did not end within {LIMIT_S:.0f} s")
    lines = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
    if done.returncode == 0:
        said = lines[-1] if lines else "verify.py said nothing"
        return Check(name=NAME, outcome=Outcome.PASSED, detail=said + remark)
    wrong = [line for line in lines if "FAILED" in line.upper()] or done.stderr.decode(errors="replace").splitlines()[
        -3:
    ]
    detail = "; ".join([*wrong[:5], *lines[-1:]]) or f"verify.py ended with {done.returncode}"
    return Check(name=NAME, outcome=Outcome.FAILED, detail=detail + remark)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Of the user's, what programs and runtimes are found by; tokens of any kind are not handed to a package."""
    return {name: value for name, value in environ.items() if name in _KEPT or name.startswith(_KEPT_FAMILIES)}


def _not_run(detail: str, hint: str) -> Check:
    return Check(name=NAME, outcome=Outcome.NOT_RUN, detail=detail, hint=hint)
