"""Checkpoints of many gateways: intake goes on beside them, and they are of one instant whatever comes between."""

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.contract.topics import TopicKind
from ingest.errors import JournalUnavailableError
from ingest.incoming import Incoming
from ingest.journal import checkpoints
from ingest.journal.account import read_account, read_seq_ranges
from ingest.journal.journal import Journal
from ingest.journal.records import Appended
from ingest.journal.state_file import open_state, read_marks, write_checkpoint
from ingest.journal.unwritten import Unwritten
from ingest.journal.verification import verify_journal
from ingest.validation import Assessment, Refusal

_GATEWAYS = 3 * checkpoints._AT_ONCE
_AT_MS = 20_000 * 86_400_000
WaitUntil = Callable[..., None]


def _append(journal: Journal, seq: int, *, gateways: int = _GATEWAYS) -> list[Appended]:
    names = [f"gw-{number}" for number in range(gateways)]
    messages = [Incoming(f"pools/p/gateways/{name}/readings", b"%d" % seq, _AT_MS + seq) for name in names]
    assessments = [Assessment(TopicKind.READINGS, name, "b1", seq, 2, ()) for name in names]
    return journal.append_many(messages, assessments).results


def _checkpoint_head(folder: Path) -> int:
    with closing(open_state(folder / "state.sqlite")) as connection:
        return read_marks(connection).head.message_id


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


@contextmanager
def _in_time(work: Callable[[], object]) -> Iterator[None]:
    """Run work in a thread that must end although something is held meanwhile."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - told to the test's thread
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive(), "it waits for the checkpoint"
    assert not failures
    yield


def _assert_has(folder: Path, seqs: int) -> None:
    account = read_account(folder)
    assert account.total.messages == seqs * _GATEWAYS
    assert account.total.readings == 2 * seqs * _GATEWAYS
    assert {tuple(one) for one in read_seq_ranges(folder).values()} == {((0, seqs - 1),)}
    assert verify_journal(folder).broken_at is None


def test_intake_goes_on_while_a_large_checkpoint_is_written(journal: Journal, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    with journal._state_lock:  # as if the disk took its time
        with _in_time(lambda: [_append(journal, seq) for seq in range(3)]):
            assert _checkpoint_head(folder) == 0
        # What is on the disk now is whole for another process, and for the one that comes after a kill.
        _assert_has(folder, 3)
        killed = tmp_path / "killed"
        shutil.copytree(folder, killed)
    with closing(Journal(killed)):
        pass
    _assert_has(killed, 3)
    journal._writing.checkpoints.join()
    # It is of the instant at which it was begun, though all gateways went on.
    assert _checkpoint_head(folder) == _GATEWAYS
    _assert_has(folder, 3)
    journal.checkpoint()
    assert _checkpoint_head(folder) == 3 * _GATEWAYS
    _assert_has(folder, 3)


def test_a_checkpoint_that_fails_is_written_later_as_it_was(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "journal"
    failures = [sqlite3.OperationalError("disk full")] * 2

    def fail(connection: sqlite3.Connection, unwritten: Unwritten) -> None:
        write_checkpoint(connection, unwritten)
        if failures:
            raise failures.pop()

    monkeypatch.setattr(checkpoints, "write_checkpoint", fail)
    for seq in range(3):
        _append(journal, seq)
        journal._writing.checkpoints.join()
        journal._writing.checkpoints.be_due()
    assert not failures
    assert _checkpoint_head(folder) == _GATEWAYS
    journal.checkpoint()
    _assert_has(folder, 3)


@pytest.mark.parametrize("is_written", [False, True])
def test_an_append_that_fails_beside_a_checkpoint_counts_nothing_twice(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_written: bool
) -> None:
    folder = tmp_path / "journal"
    _append(journal, 0)
    journal.checkpoint()
    for _ in range(2):
        _append(journal, 1)
    state, unwritten, is_new = journal._writing.begin_checkpoint()
    assert is_new
    unwritten.collect_some(100)
    if is_written:
        journal._writing.checkpoints.write(state, unwritten)

    def full(*_: Any) -> None:
        raise JournalUnavailableError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(journal._writing, "_commit", full)
        with pytest.raises(JournalUnavailableError):
            _append(journal, 2)
    assert set(_append(journal, 2)) == {Appended.NEW}
    journal._writing.checkpoints.write(state, unwritten)  # its thread may come as late as this
    journal.checkpoint()
    _assert_has(folder, 3)
    assert read_account(folder).total.duplicate_messages == _GATEWAYS


def test_digests_and_statuses_of_a_checkpoint_under_way_are_known(journal: Journal) -> None:
    no_json = Refusal(None, "malformed_json", "no JSON")
    messages = [
        Incoming("pools/p/gateways/gw-1/readings", b"no JSON", _AT_MS),
        Incoming("gateways/gw-1/status", b"{}", _AT_MS, retain=True),
    ]
    assessments = [
        Assessment(TopicKind.READINGS, "gw-1", None, None, 0, (no_json,)),
        Assessment(TopicKind.STATUS, "gw-1", None, None, 0, ()),
    ]
    assert journal.append_many(messages, assessments).results == [Appended.REFUSED, Appended.NEW]
    journal._writing.begin_checkpoint()
    assert journal.append_many(messages, assessments).results == [Appended.DUPLICATE] * 2


def test_a_status_that_came_during_a_checkpoint_is_not_forgotten_with_it(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_SOURCES_IN_MEMORY", 0)

    def say(gateway_id: str) -> list[Appended]:
        message = Incoming(f"gateways/{gateway_id}/status", b"{}", _AT_MS, retain=True)
        return journal.append_many(
            [message], [Assessment(TopicKind.STATUS, gateway_id, None, None, 0, ())]
        ).results

    assert say("gw-1") == [Appended.NEW]
    state, unwritten, _ = journal._writing.begin_checkpoint()
    assert say("gw-2") == [Appended.NEW]
    journal._writing.checkpoints.write(state, unwritten)
    assert say("gw-1") == say("gw-2") == [Appended.DUPLICATE]
