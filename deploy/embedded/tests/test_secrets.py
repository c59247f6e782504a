from pathlib import Path

from contracts.credentials import USER_PREFIX, is_well_formed
from embedded.secrets import load_or_create


def test_made_once_and_readable_by_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    made = load_or_create(path)
    assert load_or_create(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_well_formed(made.admin_token, USER_PREFIX)


def test_two_stacks_do_not_share_secrets(tmp_path: Path) -> None:
    first, second = load_or_create(tmp_path / "a"), load_or_create(tmp_path / "b")
    assert first.key_pepper != second.key_pepper
    assert first.postgres_password != second.postgres_password
