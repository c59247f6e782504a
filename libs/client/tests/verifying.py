"""Packages of somebody who is trusted, and what `verify` finds in them."""

import os
import zipfile

from modelport.packages.report import Outcome
from modelport.packages.verify import Wish, verify

from .packages import signer

SOMEBODY = signer()


def checked(path, *, trusted=(SOMEBODY.public_key,), python=None, **wish):
    return verify(path, Wish(keys=trusted, python=python, environ=dict(os.environ), **wish))


def failure(path, **wish):
    """The name and sentence of the check that failed."""
    [found] = [check for check in checked(path, **wish).checks if check.outcome is Outcome.FAILED]
    return found.name, found.detail


def unpacked(package, folder):
    with zipfile.ZipFile(package) as opened:
        opened.extractall(folder)
    return folder


def written(folder, content):
    path = folder / "changed.zip"
    path.write_bytes(content)
    return path
