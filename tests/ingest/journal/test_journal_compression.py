"""A day is compressed in parts, and gone on with by whoever comes after a stop or a kill."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ingest.errors import JournalError
from ingest.journal import compression
from ingest.journal.compression import Part, compress_part
from ingest.journal.journal import Journal
from ingest.journal.recent import Recent
from ingest.journal.records import Appended
from ingest.journal.verification import verify_journal
from ingest.journal.view import messages_of

DAY_MS = 86_400_000
MESSAGES = 40
FIRST_DAY = "2026-07-01.sqlite"
HALF = "2026-07-01.packed.sqlite.new"
Build = Callable[..., Any]


@pytest.fixture
def day(book: Any, letter: Build, now_ms: int, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed day of many blocks and flushes of the index, each of which is one part."""
    for name in ("_CHUNK_BYTES", "_CHUNKS_AT_ONCE", "_MERGE_ROWS"):
        monkeypatch.setattr(compression, name, 1)
    with monkeypatch.context() as often:
        often.setattr(Recent, "is_due", lambda recent, _now_ms: bool(recent.rows()))
        for seq in range(MESSAGES):
            book.append([letter(seq)])
    book.append([letter(MESSAGES, at_ms=now_ms + DAY_MS)])
    book.journal.advance(MESSAGES + 1)
    book.journal.close()
    folder: Path = book.folder
    return folder / FIRST_DAY


def _parts(path: Path) -> Iterator[Part]:
    part = Part.MORE
    while part is Part.MORE:
        part = compress_part(path)
        yield part


def test_each_part_is_small_and_the_day_stays_until_the_last(day: Path, letter: Build) -> None:
    whole = verify_journal(day.parent)
    payloads = [one.payload for one in messages_of(day.parent)]
    parts = 0
    for part in _parts(day):
        parts += 1
        assert day.exists() is (part is Part.MORE)
        assert verify_journal(day.parent) == whole
    assert part is Part.DONE
    assert parts > MESSAGES + MESSAGES // 2  # blocks, then the index
    assert [one.payload for one in messages_of(day.parent)] == payloads
    with closing(Journal(day.parent)) as journal:
        again = [letter(seq) for seq in (0, 7, MESSAGES - 1)]
        changed = letter(7, value=0.9)
        done = journal.append_many(
            [one.message for one in [*again, changed]], [one.assessment for one in [*again, changed]]
        )
        assert done.results == [*[Appended.DUPLICATE] * 3, Appended.CLONED]  # found by the merged index


def test_after_a_kill_at_any_part_it_is_gone_on_with(day: Path, tmp_path: Path) -> None:
    payloads = [one.payload for one in messages_of(day.parent)]
    total = 0
    needed: list[int] = []
    for number, part in enumerate(_parts(day)):
        total += 1
        if part is Part.DONE or number % 9:
            continue
        killed = tmp_path / str(number)
        shutil.copytree(day.parent, killed)
        with closing(Journal(killed)):
            pass
        left = list(_parts(killed / FIRST_DAY))
        assert [one.payload for one in messages_of(killed)] == payloads
        assert not list(killed.glob("*.new*"))
        assert verify_journal(killed).broken_at is None
        needed.append(number + 1 + len(left))
    assert needed == [total] * len(needed)  # no part was done twice
    assert len(needed) > 5


@pytest.mark.parametrize("harm", ["no database at all, and longer than a header of it" * 40, ""])
def test_a_half_that_cannot_be_gone_on_with_is_begun_anew(day: Path, harm: str) -> None:
    parts = _parts(day)
    for _ in range(3):
        next(parts)
    half = day.with_name(HALF)
    if harm:
        half.write_text(harm)
    else:
        with closing(sqlite3.connect(half)) as connection:
            connection.execute("UPDATE chunk SET body = zeroblob(20)")
            connection.commit()
    with pytest.raises((sqlite3.Error, JournalError)):
        compress_part(day)
    assert not half.exists()
    assert list(_parts(day))[-1] is Part.DONE
    assert verify_journal(day.parent).messages == MESSAGES + 1


def test_upkeep_does_a_part_at_a_time_and_retention_takes_the_half_with_it(day: Path, now_ms: int) -> None:
    with closing(Journal(day.parent)) as journal:
        assert journal.maintain(now_ms)
        assert day.exists()
        assert day.with_name(HALF).exists()
        assert journal.prune(keep_days=1, now_ms=now_ms + 9 * DAY_MS) == ["2026-07-01"]
    assert not list(day.parent.glob("2026-07-01*"))
