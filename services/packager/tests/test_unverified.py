"""A packager without the environment of a format refuses its packages by name, unless its operator accepts them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import structs

from contracts.errors import Permanent
from contracts.vocabulary import WrapperLanguage, WrapperProof
from packager import export_package
from packager.proofs import gates
from packager.settings import Settings

from .conftest import Artefact

pytestmark = pytest.mark.integration


async def test_what_nobody_tried_is_delivered_only_where_that_is_accepted(
    settings: Settings, make: Callable[..., Artefact], tmp_path: Path
) -> None:
    for word in ("refuse", "accept"):
        artefact, folder = make(), tmp_path / word
        folder.mkdir()
        gate = gates.build(structs.replace(settings, unverified_packages=word))
        assembling = export_package.assemble(artefact.metadata, artefact.sources(), folder, gate=gate)
        if word == "refuse":
            with pytest.raises(Permanent, match="MODELPORT_RUNTIMES_DIR holds no environment") as caught:
                await assembling
            assert caught.value.code == "packaging_failed"
            assert "make setup" in caught.value.hint
        else:
            proofs = (await assembling).metadata.wrapper_proofs
            assert proofs[WrapperLanguage.PYTHON].proof is WrapperProof.PARSED
