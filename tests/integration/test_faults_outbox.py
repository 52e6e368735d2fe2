"""Gateways as whole processes whose outbox has a full disk under it, or a last write that is torn."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.fault_bench import Bench, came_again, needs_mosquitto, until
from tests.integration.fault_verdicts import Sent
from tests.integration.small_disk import mounted_small

pytestmark = [pytest.mark.integration, needs_mosquitto, pytest.mark.timeout(180)]
_KIB = 1024
_FULL = "the outbox takes nothing; readings wait in memory"
_ROOM = "the outbox works again"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, ("g1", "bystander"))
    yield bench
    bench.close()


@pytest.fixture
def small_disk(bench: Bench) -> Iterator[Path]:
    """The folder of a gateway's outbox as a disk of its own of 4 MiB."""
    with mounted_small(bench.folder.outbox("g1").parent, bench) as folder:
        yield folder


def start_all(bench: Bench) -> None:
    for name in ("broker", "ingest", "g1", "bystander"):
        bench.start(name)
    bench.until_ready()
    until(lambda: bench.receipted("g1") > 20, "readings flow")


def fill(bench: Bench, disk: Path) -> Path:
    """Leave the outbox no room, and wait until the gateway says so; returns the file that takes the room."""
    said = bench.log_of("g1").count(_FULL)
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        left = shutil.disk_usage(disk).free
        file.write(bytes(left - left % 4096))
    until(lambda: bench.log_of("g1").count(_FULL) > said, "the gateway says that it cannot keep")
    return ballast


def test_a_full_disk_under_the_outbox_of_a_running_gateway_costs_no_reading(
    bench: Bench, small_disk: Path
) -> None:
    start_all(bench)
    # Without receipts the outbox grows; with them it needs no room.
    bench.kill("ingest")
    ballast = fill(bench, small_disk)
    measured, sent = len(bench.measured("g1")), len(bench.sent("g1"))
    until(lambda: len(bench.measured("g1")) > measured + 100, "it measures on")
    ballast.unlink()
    until(lambda: _ROOM in bench.log_of("g1"), "it goes on by itself when there is room")
    bench.start("ingest")
    until(lambda: len(bench.sent("g1")) > sent + 100, "what waited in memory leaves")
    bench.settle()
    # Nobody was killed: what the probe gave is there, all of it.
    assert sorted(bench.measured("g1")) == sorted(bench.sent("g1"))
    bench.assert_whole([*bench.measured("g1"), *bench.sent("bystander")])


def test_a_full_disk_is_emptied_by_receipts_and_a_kill_on_it_costs_what_was_in_memory(
    bench: Bench, small_disk: Path
) -> None:
    start_all(bench)
    bench.kill("ingest")
    fill(bench, small_disk)
    # Receipts come again, though the disk is as full as it was: forgetting needs no more room than is held for it.
    receipted = bench.receipted("g1")
    bench.start("ingest")
    until(lambda: bench.receipted("g1") > receipted, "receipts free the disk")
    until(lambda: _ROOM in bench.log_of("g1"), "it goes on in the room that they gave")
    bench.kill("ingest")
    measured = len(bench.measured("g1"))
    until(lambda: bench.log_of("g1").count(_FULL) >= 2, "full again", within_s=120)
    until(lambda: len(bench.measured("g1")) > measured + 50, "it measures on")
    bench.kill("g1")
    # It starts on the full disk, as a gateway does after a power cut.
    bench.start("ingest")
    bench.start("g1")
    bench.settle()
    # The messages that the disk had are there; those of memory alone went with the process, and were never sent.
    bench.assert_whole([*bench.sent("g1"), *bench.sent("bystander")])


def _log(bench: Bench) -> Path:
    outbox = bench.folder.outbox("g1")
    return outbox.with_name(f"{outbox.name}-wal")


def test_garbage_behind_the_log_of_an_outbox_costs_nothing(bench: Bench) -> None:
    start_all(bench)
    for length in (13, 5_000, 40_000):
        before = len(bench.sent("g1"))
        until(lambda before=before: len(bench.sent("g1")) > before + 20, "readings flow")  # type: ignore[misc]
        bench.kill("g1")
        # A power cut leaves what was on its way to the disk half written.
        with _log(bench).open("ab") as file:
            file.write(os.urandom(length))
        bench.start("g1")
    bench.settle()
    bench.assert_whole([*bench.sent("g1"), *bench.sent("bystander")])


def test_a_torn_commit_of_an_outbox_costs_what_was_in_it_and_nothing_before_it(bench: Bench) -> None:
    start_all(bench)
    # With nobody to send to, all that is measured is in the outbox, and nowhere else.
    bench.kill("broker")
    measured = len(bench.measured("g1"))
    until(lambda: len(bench.measured("g1")) > measured + 100, "it measures on")
    bench.kill("g1")
    kept = bench.measured("g1")
    written = _log(bench).read_bytes()
    _log(bench).write_bytes(written[:-1000] + os.urandom(300))
    bench.start("broker")
    bench.start("g1")
    bench.settle()
    arrived = {one for one in bench.stored() if one in set(kept)}
    lost = [one for one in kept if one not in arrived]
    # One reading was in the commit that the disk tore, and one may have been on its way into the next.
    assert 1 <= len(lost) <= 2
    assert lost == kept[-len(lost) :]
    expected: set[Sent] = {*bench.sent("g1"), *bench.sent("bystander")} - set(lost)
    bench.assert_whole(expected)


def test_receipts_that_an_outbox_forgot_bring_their_messages_again_and_double_none(bench: Bench) -> None:
    start_all(bench)
    # All of it has its receipt; then the disk loses the last of what it confirmed.
    (bench.place_of("g1") / "hush").touch()
    until(lambda: bench.pending("g1") == 0, "all is receipted")
    bench.kill("g1")
    before = came_again(bench.account())
    written = _log(bench).read_bytes()
    _log(bench).write_bytes(written[: len(written) // 2])
    (bench.place_of("g1") / "hush").unlink()
    bench.start("g1")
    until(lambda: came_again(bench.account()) > before, "messages come again")
    bench.settle()
    bench.assert_whole([*bench.sent("g1"), *bench.sent("bystander")])
