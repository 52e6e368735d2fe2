"""Real processes killed, and threads that work on one journal at once."""

import random
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from ingest.journal.account import read_account
from ingest.journal.journal import Journal
from ingest.journal.verification import verify_journal

Build = Callable[..., Any]
DAY_MS = 86_400_000
_CHILD = """
import sys
from pathlib import Path
from gateway.contract.topics import TopicKind
from ingest.incoming import Incoming
from ingest.journal.journal import Journal
from ingest.validation import Assessment
journal = Journal(Path(sys.argv[1]))
seq = int(sys.argv[2])
while True:
    seqs = range(seq, seq + 1 + seq % 7)
    topic, begin_ms = "pools/north/gateways/gw-a/readings", 20_000 * 86_400_000
    messages = [Incoming(topic, b"%d" % one, begin_ms + one * 60_000) for one in seqs]
    done = journal.append_many(messages, [Assessment(TopicKind.READINGS, "gw-a", "b1", one, 1, ()) for one in seqs])
    journal.advance(done.last_id - 1)
    seq = seqs[-1] + 1
    print(seq, flush=True)
"""


def test_what_was_journalled_outlives_any_kill(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    chance = random.Random(5)
    told = 0
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(folder), str(told)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(chance.randrange(1, 400)):
            told = int(child.stdout.readline())
        child.kill()
        rest = child.stdout.read().split()
        child.wait()
        child.stdout.close()
        told = int(rest[-1]) if rest else told
        account = read_account(folder)  # of an ingest that was killed, before another one opens it
        assert account.total.messages >= told
        with closing(Journal(folder)) as journal:
            kept = journal.read_after(0, limit=1_000_000)
            assert [one.seq for one in kept] == list(range(len(kept)))
            assert len(kept) == account.total.messages
            assert account.total.in_flight_messages == len(kept) - account.cursor
            told = len(kept)
        verified = verify_journal(folder)
        assert (verified.broken_at, verified.messages) == (None, told)


def test_appending_reading_advancing_and_upkeep_go_on_at_once(book: Any, letter: Build, now_ms: int) -> None:
    errors: list[BaseException] = []
    done = threading.Event()

    def noting(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - told to the test's thread
                errors.append(error)
                done.set()

        return run

    def follow() -> None:
        cursor = 0
        while not (done.is_set() and cursor == 400):
            found = book.journal.read_after(cursor, limit=7)
            assert [one.message_id for one in found] == list(range(cursor + 1, cursor + 1 + len(found)))
            if found:
                cursor = found[-1].message_id
                book.journal.advance(cursor)

    def keep_up() -> None:
        while not done.is_set():
            book.journal.maintain(now_ms, keep_days=30)
            assert verify_journal(book.folder).broken_at is None
            read_account(book.folder)

    threads = [threading.Thread(target=noting(work)) for work in (follow, keep_up)]
    for thread in threads:
        thread.start()
    for seq in range(200):
        one = letter(seq, at_ms=now_ms + seq // 50 * DAY_MS)
        two = letter(seq, boot_id="b2", at_ms=now_ms + seq // 50 * DAY_MS)
        book.append([one, two, one])
    done.set()
    for thread in threads:
        thread.join(60)
    assert not errors
    while book.journal.maintain(now_ms):
        pass
    assert len(list(book.folder.glob("*.packed.sqlite"))) == 3
    book.journal.checkpoint()
    total = read_account(book.folder).total
    assert (total.messages, total.duplicate_messages, total.in_flight_messages) == (400, 200, 0)
    assert verify_journal(book.folder).messages == 400
