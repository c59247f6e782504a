"""The key that an embedded stack signs with."""

from pathlib import Path

import pytest

from contracts.signing_keys import public_keys
from embedded import signing


def published(home: Path) -> list[str]:
    return [key.key_id for key in public_keys(signing.files(home)[1].read_text())]


def test_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    signing.load_or_create(tmp_path)
    private, public = signing.files(tmp_path)
    made = private.read_bytes(), public.read_bytes()
    signing.load_or_create(tmp_path)
    assert (private.read_bytes(), public.read_bytes()) == made
    assert private.stat().st_mode & 0o777 == 0o600
    assert private.parent.stat().st_mode & 0o777 == 0o700


def test_the_packager_signs_with_what_the_gateway_publishes(tmp_path: Path) -> None:
    from packager.provenance import signing as packagers

    signing.load_or_create(tmp_path)
    signer = packagers.load(str(signing.files(tmp_path)[0]))
    assert signer is not None
    assert published(tmp_path) == [signer.key_id]


def test_after_a_rotation_the_new_key_is_first_and_the_old_one_is_still_published(tmp_path: Path) -> None:
    signing.load_or_create(tmp_path)
    [first] = published(tmp_path)
    signing.files(tmp_path)[0].unlink()
    signing.load_or_create(tmp_path)
    second, kept = published(tmp_path)
    assert kept == first != second


def test_keys_of_others_are_not_published_by_mistake(tmp_path: Path) -> None:
    signing.load_or_create(tmp_path)
    private, public = signing.files(tmp_path)
    public.write_bytes(private.read_bytes())
    with pytest.raises(ValueError, match="private key"):
        signing.load_or_create(tmp_path)
