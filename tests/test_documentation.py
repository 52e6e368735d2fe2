"""What a person is told exists: commands and addresses of the README, and help on every command."""

import re
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from dashboards.public import api, pages
from poolwatch.main import app


@pytest.fixture(scope="module")
def readme(pytestconfig: pytest.Config) -> str:
    return (Path(pytestconfig.rootpath) / "README.md").read_text(encoding="utf-8")


def _commands() -> dict[str, str]:
    """Every command with its help."""
    found: dict[str, str] = {}
    top = get_command(app)
    context = typer.Context(top)
    for name in top.list_commands(context):  # type: ignore[attr-defined]
        command = top.get_command(context, name)  # type: ignore[attr-defined]
        if hasattr(command, "list_commands"):
            for inner in command.list_commands(context):
                found[f"{name} {inner}"] = command.get_command(context, inner).help or ""
        else:
            found[name] = command.help or ""
    return found


def test_every_command_says_what_it_is_for() -> None:
    commands = _commands()
    assert {"demo", "broker", "ingest", "analytics", "dashboards", "test", "replay", "registry check"} <= set(
        commands
    )
    assert all(len(text) > 20 for text in commands.values()), commands


def test_every_command_that_the_readme_names_exists(readme: str) -> None:
    commands = _commands()
    named = set(re.findall(r"poolwatch ([a-z]+(?: (?:check|list|verify|write|show))?)", readme))
    assert named
    for name in named - {"is", "does"}:
        assert name in commands or name.split()[0] in commands, name


def test_every_public_address_is_in_the_readme(readme: str) -> None:
    for router in (api.router, pages.router):
        for route in router.routes:
            path: str = getattr(route, "path", "")
            short = path.replace("/v1/pools/{pool_id}/", "…/")
            assert path in readme or short in readme, path


def test_every_table_of_judging_files_is_described(pytestconfig: pytest.Config) -> None:
    pytest.importorskip("pyarrow", reason="judging from files needs the extra `offline`")
    from analytics.offline.tables import SCHEMAS

    text = (Path(pytestconfig.rootpath) / "docs" / "judge.md").read_text(encoding="utf-8")
    for table, columns in SCHEMAS.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{table}`")]
        for name, _ in columns:
            assert f"`{name}`" in row, (table, name)
