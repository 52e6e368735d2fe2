"""Changed, cut, lost and foreign files; a full disk."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import JournalError, JournalUnavailableError
from ingest.journal.account import read_account
from ingest.journal.compression import Part, compress_part
from ingest.journal.journal import Journal
from ingest.journal.quarantine import read_quarantine
from ingest.journal.records import Appended
from ingest.journal.verification import verify_journal
from ingest.journal.view import messages_of

DAY_MS = 86_400_000
FIRST_DAY = "2026-07-01.sqlite"
Build = Callable[..., Any]


def compress_day(path: Path) -> None:
    part = Part.MORE
    while part is Part.MORE:
        part = compress_part(path)
    assert part is Part.DONE


@pytest.fixture
def three_days(book: Any, letter: Build, now_ms: int) -> Path:
    """A closed journal of 15 messages, a block for each, in three days."""
    for seq in range(15):
        book.append([letter(seq, at_ms=now_ms + seq // 5 * DAY_MS)])
    book.journal.close()
    folder: Path = book.folder
    return folder


@pytest.mark.parametrize(
    ("tampering", "broken_at"),
    [
        ("UPDATE block SET body = CAST(replace(body, '0.5', '0.6') AS BLOB) WHERE first_id = 3", 3),
        ("UPDATE block SET count = 2 WHERE first_id = 2", 2),
        ("DELETE FROM block WHERE first_id = 3", 3),
        ("DELETE FROM block WHERE first_id = 5", 5),
        ("UPDATE block SET hash = zeroblob(32) WHERE first_id = 4", 4),
        ("UPDATE block SET hash = 'text' WHERE first_id = 4", 4),
        ("UPDATE block SET first_id = 99 WHERE first_id = 1", 1),
        ("INSERT INTO block SELECT 77, count, hash, body FROM block WHERE first_id = 4", 6),
        ("UPDATE day SET follows_hash = zeroblob(31)", 1),
    ],
)
def test_tampering_shows_at_the_block_that_was_touched(
    three_days: Path, tampering: str, broken_at: int
) -> None:
    whole = verify_journal(three_days)
    assert (whole.messages, whole.broken_at) == (15, None)
    assert len(bytes.fromhex(whole.head)) == 32
    with closing(sqlite3.connect(three_days / FIRST_DAY)) as connection:
        assert connection.execute(tampering).rowcount == 1
        connection.commit()
    found = verify_journal(three_days)
    assert found.broken_at == broken_at
    assert found.reason


def test_a_day_that_is_missing_shows_and_is_never_read_over(three_days: Path, now_ms: int) -> None:
    (three_days / "2026-07-02.sqlite").unlink()
    found = verify_journal(three_days)
    assert (found.messages, found.broken_at) == (5, 6)
    assert "missing" in found.reason
    with closing(Journal(three_days)) as journal:
        assert [one.seq for one in journal.read_after(10, limit=5)] == [10, 11, 12, 13, 14]
        with pytest.raises(JournalError, match="messages 6 to 10 are missing"):
            journal.read_after(0, limit=100)
    with pytest.raises(JournalError, match="missing"):
        list(messages_of(three_days))


def test_a_renamed_or_first_day_that_is_missing_shows(three_days: Path) -> None:
    (three_days / "2026-07-03.sqlite").rename(three_days / "2026-07-09.sqlite")
    assert verify_journal(three_days).broken_at == 11
    (three_days / FIRST_DAY).unlink()
    assert verify_journal(three_days).broken_at == 1


def test_a_cut_tail_shows_and_is_not_written_over(three_days: Path) -> None:
    with closing(sqlite3.connect(three_days / "2026-07-03.sqlite")) as connection:
        connection.execute("DELETE FROM block WHERE first_id >= 14")
        connection.commit()
    found = verify_journal(three_days)
    assert (found.messages, found.broken_at) == (13, 14)
    with pytest.raises(JournalError, match="ends after message 13, and was 15"):
        Journal(three_days)
    (three_days / "state.sqlite").unlink()
    with closing(Journal(three_days)) as journal:
        assert len(journal.read_after(0)) == 13


def test_a_last_write_that_is_torn_is_as_if_it_never_was(book: Any, letter: Build, tmp_path: Path) -> None:
    book.append([letter(0)])
    book.journal.checkpoint()
    wal = book.folder / f"{FIRST_DAY}-wal"
    before = wal.stat().st_size
    book.append([letter(1)])
    written = wal.read_bytes()
    for cut in range(before, len(written), 997):
        torn = tmp_path / f"torn-{cut}"
        shutil.copytree(book.folder, torn)
        (torn / f"{FIRST_DAY}-shm").unlink()
        (torn / wal.name).write_bytes(written[:cut] + b"\xff" * 300)
        for state in torn.glob("state.sqlite*"):  # it was written after, so the disk had what came before
            state.unlink()
        with closing(Journal(torn)) as journal:
            assert [one.seq for one in journal.read_after(0)] == [0]
            one = letter(1)
            assert journal.append_many([one.message], [one.assessment]).results == [Appended.NEW]
        assert verify_journal(torn).messages == 2


def test_garbage_after_the_end_of_a_file_changes_nothing(three_days: Path) -> None:
    with (three_days / "2026-07-03.sqlite").open("ab") as file:
        file.write(os.urandom(5000))
    assert verify_journal(three_days).messages == 15
    with closing(Journal(three_days)) as journal:
        assert len(journal.read_after(0)) == 15


def test_what_is_no_journal_is_refused(tmp_path: Path, three_days: Path) -> None:
    for read in (read_quarantine, read_account, verify_journal):
        with pytest.raises(JournalError, match="no journal"):
            read(tmp_path / "absent")
    newest = three_days / "2026-07-03.sqlite"
    with closing(sqlite3.connect(newest)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(JournalError, match="newer"):
        Journal(three_days)
    assert "newer" in verify_journal(three_days).reason
    newest.write_bytes(b"no database at all, but long enough to be looked at" * 400)
    with pytest.raises(JournalError, match="not a database"):
        Journal(three_days)


def test_a_compressed_day_verifies_block_by_block(three_days: Path) -> None:
    whole = verify_journal(three_days)
    compress_day(three_days / FIRST_DAY)
    assert not (three_days / FIRST_DAY).exists()
    assert verify_journal(three_days) == whole
    packed = three_days / "2026-07-01.packed.sqlite"
    with closing(sqlite3.connect(packed)) as connection:
        (body,) = connection.execute("SELECT body FROM chunk").fetchone()
        connection.execute("UPDATE chunk SET body = ?", (body[:-9] + b"\0" * 9,))
        connection.commit()
    assert verify_journal(three_days).broken_at == 1


def test_a_kill_while_a_day_is_compressed_loses_nothing(three_days: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.sqlite"
    shutil.copy(three_days / FIRST_DAY, whole)
    compress_day(three_days / FIRST_DAY)
    shutil.copy(whole, three_days / FIRST_DAY)  # killed before the open form went
    (three_days / "2026-07-02.sqlite.new").write_bytes(b"half")
    (three_days / "2026-07-02.sqlite.new-wal").write_bytes(b"half")
    assert verify_journal(three_days).messages == 15
    with closing(Journal(three_days)) as journal:
        assert len(journal.read_after(0)) == 15
    assert not (three_days / FIRST_DAY).exists()
    assert not list(three_days.glob("*.new*"))


def test_a_broken_day_is_not_compressed(three_days: Path) -> None:
    with closing(sqlite3.connect(three_days / FIRST_DAY)) as connection:
        connection.execute("DELETE FROM block WHERE first_id = 3")
        connection.commit()
    with pytest.raises(JournalError, match="chain breaks at message 3"):
        compress_day(three_days / FIRST_DAY)
    assert (three_days / FIRST_DAY).exists()


def test_retention_removes_only_what_is_in_the_store(three_days: Path, now_ms: int, letter: Build) -> None:
    later = now_ms + 40 * DAY_MS
    with closing(Journal(three_days)) as journal:
        journal.advance(7)
        assert journal.prune(keep_days=30, now_ms=later) == ["2026-07-01"]
        assert journal.prune(keep_days=30, now_ms=later) == []
        journal.advance(15)
        assert journal.prune(keep_days=40, now_ms=later) == []
        assert journal.prune(keep_days=39, now_ms=later) == ["2026-07-02"]
        assert journal.prune(keep_days=1, now_ms=later) == []  # the newest stays
        found = verify_journal(three_days)
        assert (found.messages, found.broken_at) == (5, None)
        assert [one.message_id for one in messages_of(three_days)] == [11, 12, 13, 14, 15]
        again = letter(0)  # its bytes are gone, its key stands
        assert journal.append_many([again.message], [again.assessment]).results == [Appended.DUPLICATE]
    (three_days / "2026-07-03.sqlite").rename(three_days / "gone")
    assert verify_journal(three_days).broken_at == 11


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = os.geteuid() == 0 and (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        pytest.skip("a tmpfs cannot be mounted here: needs root and mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_takes_nothing_and_the_same_call_succeeds_later(
    small_disk: Path, letter: Build, now_ms: int
) -> None:
    ballast = small_disk / "ballast"
    with closing(Journal(small_disk / "journal")) as journal:
        first = letter(0)
        journal.append_many([first.message, first.message], [first.assessment] * 2)
        free = shutil.disk_usage(small_disk).free
        ballast.write_bytes(bytes(free - 20_000))
        more = [letter(seq) for seq in range(1, 400)]
        for _ in range(3):
            with pytest.raises(JournalUnavailableError, match=r"full|disk"):
                journal.append_many([one.message for one in more], [one.assessment for one in more])
        assert len(journal.read_after(0)) == 1
        ballast.unlink()
        done = journal.append_many([one.message for one in more], [one.assessment for one in more])
        assert done.results == [Appended.NEW] * 399
        tally = read_account(small_disk / "journal").total
        assert (tally.messages, tally.readings) == (400, 400)
        journal.checkpoint()
        assert read_account(small_disk / "journal").total.duplicate_messages == 1
        assert verify_journal(small_disk / "journal").messages == 400
