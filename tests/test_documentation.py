"""What a person is told exists: commands and addresses of the README, and help on every command."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.main import get_command

from analytics.counters import AnalyticsCounters
from dashboards.public import api, pages
from gateway.counters import GatewayCounters
from gateway.figures import GatewayFigures
from ingest.broker_watch import WatchFigures
from ingest.clock_watch import ClockWatch
from ingest.counters import IngestCounters
from ingest.store.influx_address import InfluxAddress, render_address
from poolwatch.account_watch import MessagesAccount, ReadingsAccount
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
            if command.invoke_without_command:
                found[name] = command.help or ""
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


@pytest.mark.parametrize(
    "page", ["README.md", "docs/operations.md", "docs/scale.md", "docs/security.md", "docs/judge.md"]
)
def test_every_command_that_a_page_names_exists(pytestconfig: pytest.Config, page: str) -> None:
    commands = _commands()
    groups = {name.split()[0] for name in commands if " " in name}
    text = (Path(pytestconfig.rootpath) / page).read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|bin/|^)poolwatch ([a-z]+)(?: ([a-z-]+))?", text, re.MULTILINE))
    assert named
    for first, second in named:
        if first in groups and f"{first} {second}" in commands:
            continue
        assert first in commands, f"{page}: poolwatch {first} {second}"


def test_every_public_address_is_in_the_readme(readme: str) -> None:
    for router in (api.router, pages.router):
        for route in router.routes:
            path: str = getattr(route, "path", "")
            short = path.replace("/v1/pools/{pool_id}/", "…/")
            assert path in readme or short in readme, path


@pytest.mark.parametrize(
    ("service", "counters"),
    [
        ("ingest", IngestCounters),
        ("ingest_account", ReadingsAccount),
        ("ingest_account", MessagesAccount),
        ("analytics", AnalyticsCounters),
        ("broker", WatchFigures),
        ("gateway", GatewayCounters),
        ("gateway", GatewayFigures),
    ],
)
def test_every_metric_is_described(pytestconfig: pytest.Config, service: str, counters: Any) -> None:
    """What is computed when asked is compared in tests/integration/test_monitored_services.py, with services that run."""
    text = (Path(pytestconfig.rootpath) / "docs/operations.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(counters):
        assert field.metadata["help"], field.name
        row = (
            f"| `poolwatch_{service}_{field.name}` | {field.metadata.get('kind', 'counter')} "
            f"| {field.metadata['help']} |"
        )
        assert row in text


def test_the_metrics_of_clocks_are_described(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    text = (Path(pytestconfig.rootpath) / "docs/operations.md").read_text(encoding="utf-8")
    place = tmp_path / "ingest.toml"
    place.write_text(render_address(InfluxAddress("http://127.0.0.1:1", "org", "token")), encoding="utf-8")
    gauges = ClockWatch(f"influx:{place}", clock=lambda: 0).gauges()
    assert gauges
    for name, (says, _) in gauges.items():
        assert f"| `poolwatch_ingest_{name}` | gauge | {says} |" in text


def test_every_metric_that_a_panel_or_alarm_asks_for_exists(pytestconfig: pytest.Config) -> None:
    text = (Path(pytestconfig.rootpath) / "docs/operations.md").read_text(encoding="utf-8")
    kinds = dict(re.findall(r"^\| `(poolwatch_\w+)` \| (\w+) \|", text, re.MULTILINE))
    suffixes = {"counter": "_total", "histogram": "_bucket", "gauge": ""}
    on_the_wire = {f"{name}{suffixes[kind]}" for name, kind in kinds.items()}
    asked = re.findall(r"poolwatch_\w+", text[text.index("### Panels and alarms") : text.index("## Clocks")])
    assert len(asked) >= 30
    assert set(asked) <= on_the_wire


def test_every_table_of_judging_files_is_described(pytestconfig: pytest.Config) -> None:
    pytest.importorskip("pyarrow", reason="judging from files needs the extra `offline`")
    from analytics.offline.tables import SCHEMAS

    text = (Path(pytestconfig.rootpath) / "docs" / "judge.md").read_text(encoding="utf-8")
    for table, columns in SCHEMAS.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{table}`")]
        for name, _ in columns:
            assert f"`{name}`" in row, (table, name)
