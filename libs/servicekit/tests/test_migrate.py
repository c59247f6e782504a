"""Migrations run once, in order, whoever starts first."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from servicekit import inbox, outbox, postgres
from servicekit.fixtures import Schema
from servicekit.migrate import MigrationError, migrate

pytestmark = pytest.mark.integration


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_jobs.sql").write_text("CREATE TABLE jobs (id int PRIMARY KEY); INSERT INTO jobs VALUES (1);")
    (tmp_path / "0002_more.sql").write_text("ALTER TABLE jobs ADD COLUMN name text NOT NULL DEFAULT 'x';")
    (tmp_path / "README.md").write_text("not a migration")
    return tmp_path


async def test_files_are_applied_once_in_order(pg_schema: Schema, folder: Path) -> None:
    assert await migrate(pg_schema.dsn, pg_schema.name, folder) == ["0001_jobs.sql", "0002_more.sql"]
    (folder / "0003_last.sql").write_text("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; $$;")
    assert await migrate(pg_schema.dsn, pg_schema.name, folder) == ["0003_last.sql"]
    pool = await postgres.create_pool(pg_schema.dsn, schema=pg_schema.name)
    assert await migrate(pool, pg_schema.name, folder) == []
    assert await pool.fetchval("SELECT id || name FROM jobs") == "1x"
    await pool.close()


async def test_a_change_may_take_longer_than_a_statement_of_the_pool(
    pg_schema: Schema, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "COMMAND_S", 1.0)
    (folder / "0003_large.sql").write_text("SELECT pg_sleep(2);")
    pool = await postgres.create_pool(pg_schema.dsn, schema=pg_schema.name)
    assert "0003_large.sql" in await migrate(pool, pg_schema.name, folder)
    await pool.close()


async def test_many_services_starting_at_once_apply_each_file_once(pg_schema: Schema, folder: Path) -> None:
    shared = (outbox.TABLE_SQL, inbox.TABLE_SQL)
    runs = [migrate(pg_schema.dsn, pg_schema.name, folder, shared=shared) for _ in range(8)]
    done = await asyncio.gather(*runs)
    assert sorted(name for names in done for name in names) == ["0001_jobs.sql", "0002_more.sql"]


async def test_a_changed_applied_file_is_an_error(pg_schema: Schema, folder: Path) -> None:
    await migrate(pg_schema.dsn, pg_schema.name, folder)
    (folder / "0001_jobs.sql").write_text("CREATE TABLE jobs (id bigint);")
    with pytest.raises(MigrationError, match=r"0001_jobs\.sql was changed"):
        await migrate(pg_schema.dsn, pg_schema.name, folder)


async def test_a_failing_file_leaves_nothing_and_can_be_corrected(pg_schema: Schema, folder: Path) -> None:
    (folder / "0003_bad.sql").write_text("CREATE TABLE half (x int); SELECT no_such_function();")
    with pytest.raises(asyncpg.PostgresError):
        await migrate(pg_schema.dsn, pg_schema.name, folder)
    (folder / "0003_bad.sql").write_text("CREATE TABLE half (x int);")
    assert await migrate(pg_schema.dsn, pg_schema.name, folder) == ["0003_bad.sql"]


@pytest.mark.parametrize("name", ["1_short.sql", "0002_twice.sql", "0003 space.sql"])
async def test_bad_names_are_refused_before_anything_runs(pg_schema: Schema, folder: Path, name: str) -> None:
    (folder / name).write_text("SELECT 1")
    with pytest.raises(MigrationError):
        await migrate(pg_schema.dsn, pg_schema.name, folder)
