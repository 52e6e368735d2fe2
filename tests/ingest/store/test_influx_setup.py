"""`poolwatch influx init` on real servers: first set-up, again, rotation, least privilege, and what can be wrong."""

import stat
from pathlib import Path
from typing import Protocol

import pytest
from typer.testing import CliRunner

from ingest.store.batches import IngestBatch, batch_of_rows
from ingest.store.influx_address import read_address
from ingest.store.influx_setup import GRANTS, prepare
from ingest.store.opening import open_store
from ingest.store.ports import StoreError, StoreRejectedError, StoreUnavailableError
from ingest.store.records import PoolStateRow, PublicationRow, ReadingRow, VerdictRow
from poolwatch.influx_command import influx_app

T0 = 1_800_000_000_000
READING = ReadingRow("p1", "fc-1", "ph", T0, 7.0, "normal", T0, "gw-a", "b1", 0, 0)
VERDICT = VerdictRow("v", 1, "lapse", "p1", "open", T0, None, T0, b"{}")


class Server(Protocol):
    url: str


def run(url: str, folder: Path, *more: str) -> str:
    result = CliRunner().invoke(influx_app, ["init", "--url", url, "--out", str(folder), *more])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.integration
def test_init_sets_up_a_fresh_server_and_again_changes_nothing(fresh_influxd: Server, tmp_path: Path) -> None:
    folder = tmp_path / "influx"
    assert "bucket poolwatch-verdicts: made, keeps for ever" in run(fresh_influxd.url, folder)
    files = {path.name: path.read_text() for path in folder.iterdir()}
    assert files.keys() == {"operator.toml", *(f"{service}.toml" for service in GRANTS)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert "nothing changed" in run(fresh_influxd.url, folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == files
    # A file that is gone is made again, with a new token, and only that.
    (folder / "grafana.toml").unlink()
    assert "1 thing(s) changed" in run(fresh_influxd.url, folder)
    assert (folder / "ingest.toml").read_text() == files["ingest.toml"]

    # What each service does works with its file, and what it should not do does not.
    old = open_store(f"influx:{folder / 'ingest.toml'}")
    assert old.write(IngestBatch(readings=batch_of_rows([READING])), stored_at_ms=T0).stored == 1
    with pytest.raises(StoreUnavailableError, match="403"):
        old.write_results(verdicts=[VERDICT], states=[])
    analytics = open_store(f"influx:{folder / 'analytics.toml'}")
    arrivals, cursor = analytics.arrivals_after(None)
    assert [arrival.rows for arrival in arrivals] == [1]
    analytics.write_results(
        verdicts=[VERDICT], states=[PoolStateRow("p1", T0, "open", b"{}")], progress=cursor
    )
    with pytest.raises(StoreUnavailableError, match="may not"):
        analytics.write(
            IngestBatch(readings=batch_of_rows([READING._replace(measured_at_ms=T0 + 1)])),
            stored_at_ms=T0 + 1,
        )
    dashboards = open_store(f"influx:{folder / 'dashboards.toml'}")
    dashboards.write_publications([PublicationRow("p1", T0, "h", "r", "open", ())], stored_at_ms=T0)
    assert dashboards.verdicts("p1") == [VERDICT]
    with pytest.raises(StoreUnavailableError):
        dashboards.write_results(verdicts=[VERDICT._replace(verdict_id="w")], states=[])
    account = open_store(f"influx:{folder / 'account.toml'}")
    assert account.counts().readings_by_pool == {"p1": 1}
    with pytest.raises(StoreUnavailableError):
        account.write_publications([PublicationRow("p1", T0 + 1, "h", "r", "open", ())], stored_at_ms=T0)

    # After a rotation the old tokens are dead, and the message says what to do.
    assert "old one(s) deleted" in run(fresh_influxd.url, folder, "--rotate")
    with pytest.raises(StoreUnavailableError, match=r"401.*--rotate"):
        old.latest("p1")
    renewed = open_store(f"influx:{folder / 'ingest.toml'}")
    assert renewed.latest("p1").keys() == {("fc-1", "ph")}
    for store in (old, analytics, dashboards, account, renewed):
        store.close()


@pytest.mark.integration
def test_init_says_what_is_wrong(influxd: Server, tmp_path: Path, free_port: int) -> None:
    with pytest.raises(Exception, match="--token-file"):
        run(influxd.url, tmp_path / "nothing")
    wrong = tmp_path / "wrong"
    wrong.write_text("no-such-token\n")
    with pytest.raises(StoreRejectedError, match="operator token"):
        run(influxd.url, tmp_path / "out", "--token-file", str(wrong))
    with pytest.raises(StoreUnavailableError, match="Is it running"):
        run(f"http://127.0.0.1:{free_port}", tmp_path / "out")


@pytest.mark.integration
def test_a_bucket_with_another_retention_is_left_as_it_is(influxd: Server, tmp_path: Path) -> None:
    said: list[str] = []

    def prepare_with(days: int) -> int:
        said.clear()
        keep = {"facts": days, "published": 0, "verdicts": 0, "states": 0}
        return prepare(
            influxd.url,
            org="another",
            token="operator-token-of-tests",
            folder=tmp_path,
            keep_days=keep,
            say=said.append,
        )

    assert prepare_with(30) > 0
    assert prepare_with(60) == 0
    assert any("keeps 30 days and not 60 days; left as it is" in text for text in said)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "url"),
        ('url = "ftp://x"\norg = "o"\ntoken = "t"', "http://"),
        ('url = "http://x"\norg = "o"\ntoken = "secret"\nnovel = 1', "novel"),
        ("= 1", "Invalid"),
    ],
)
def test_an_address_file_that_cannot_be_used_is_explained_without_its_token(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "influx.toml"
    path.write_text(text)
    with pytest.raises(StoreError, match=told) as caught:
        read_address(path)
    assert "secret" not in str(caught.value)
    with pytest.raises(StoreError, match="cannot read"):
        open_store(f"influx:{tmp_path / 'absent'}")
    with pytest.raises(StoreError, match="influx:PATH"):
        open_store("influx:")
