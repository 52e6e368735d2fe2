"""`poolwatch judge` as somebody types it: a folder of tables and a summary, or one sentence and code 2."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from analytics.errors import AnalyticsError, ProfileError
from poolwatch.folder import FolderError
from poolwatch.judge_command import judge
from tests.analytics.offline_case import (
    DAY,
    FC,
    HEADER,
    HOUR,
    PH,
    registry_text,
    series_rows,
    steady,
    write_csv,
)

app = typer.Typer()
app.command()(judge)
TABLES = ("quality", "quality_counts", "exceedances", "lapses", "compliance", "punctuality", "indicator")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    rows = series_rows("p1", "fc-1", FC, steady(DAY + 6 * HOUR, DAY + 22 * HOUR, 0.5))
    rows += series_rows("p1", "ph-1", PH, steady(DAY + 6 * HOUR, DAY + 22 * HOUR, 7.4))
    rows.append(("p7", "fc-1", FC, "2026-07-01T08:00:00Z", 0.5, ""))
    registry = tmp_path / "pools.toml"
    registry.write_text(registry_text("p1"), encoding="utf-8")
    return write_csv(tmp_path / "r.csv", rows), registry


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_tables_and_a_summary(tmp_path: Path, files: tuple[Path, Path]) -> None:
    readings, registry = files
    out = tmp_path / "new" / "out"
    said = run(readings, "--registry", registry, "--out", out)
    for name in TABLES:
        assert (out / f"{name}.csv").stat().st_size > 0
        assert (out / f"{name}.parquet").read_bytes()[:4] == b"PAR1"
    assert not (out / "flags.parquet").exists()
    assert "unknown pool 1" in said
    assert "2026-07-01 00:00 to 2026-07-02 00:00" in " ".join(said.split())
    # Without publications that duty is not judged, and neither is what no file shows: it says so.
    assert "Not judged" in said
    assert "online_publication" in said
    assert "posting" in said
    assert "pool 'p7' is not in the registry" in (out / "refused.csv").read_text(encoding="utf-8")


def test_publications_flags_profile_and_times(tmp_path: Path, files: tuple[Path, Path]) -> None:
    readings, registry = files
    published = [
        (*row[:5], "normal", "2026-07-01T06:00:05+08:00")
        for row in series_rows("p1", "fc-1", FC, [(DAY + 6 * HOUR, 0.5)])
    ]
    pubs = write_csv(tmp_path / "pubs.csv", published, (*HEADER, "published_at"))
    out = tmp_path / "out"
    said = run(
        readings, "--registry", registry, "--out", out, "--publications", pubs, "--flags",
        "--profile", "demo", "--from", "2026-07-01", "--to", "2026-07-01T12:00:00+08:00",
    )  # fmt: skip
    assert (out / "flags.parquet").exists()
    assert "lapses of online_publication" in said
    assert "2026-07-01 00:00 to 2026-07-01 12:00" in " ".join(said.split())


@pytest.mark.parametrize("given", ["2026-07-32", "noon", "2026-07-01T06:00:00"])
def test_a_time_that_is_none(tmp_path: Path, files: tuple[Path, Path], given: str) -> None:
    readings, registry = files
    result = CliRunner().invoke(
        app, [str(readings), "--registry", str(registry), "--out", str(tmp_path / "o"), "--from", given]
    )
    assert result.exit_code == 2
    assert given in result.output


def test_what_a_user_did_wrong_is_an_error_for_users(tmp_path: Path, files: tuple[Path, Path]) -> None:
    readings, registry = files
    broken, nothing = tmp_path / "broken.toml", tmp_path / "nothing.csv"
    broken.write_text("schema = 9\n", encoding="utf-8")
    nothing.touch()
    for error, arguments in (
        (FolderError, (readings, "--registry", broken)),
        (AnalyticsError, (nothing, "--registry", registry)),
        (ProfileError, (readings, "--registry", registry, "--profile", "changzhou-1999")),
        (AnalyticsError, (readings, "--registry", registry, "--from", "2026-07-02", "--to", "2026-07-01")),
    ):
        with pytest.raises(error):
            run(*arguments, "--out", tmp_path / "o")


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, files: tuple[Path, Path]) -> None:
    readings, registry = files
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import typer; from poolwatch.judge_command import judge\n"
        "app = typer.Typer(pretty_exceptions_enable=False); app.command()(judge)\n"
        "from analytics.errors import AnalyticsError\n"
        "try:\n    app()\nexcept AnalyticsError as error:\n    print(error); sys.exit(2)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, readings, "--registry", registry, "--out", tmp_path / "o"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr
    assert "pip install 'poolwatch[offline]'" in ended.stdout
