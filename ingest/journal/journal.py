"""The journal: every message as it came, once, chained by SHA-256, on the disk before it is acknowledged.

A folder with a file for each UTC day of receipt (`2026-11-24.sqlite`), `state.sqlite`, `releases.sqlite` and a lock. One
process writes; readers (`account`, `verification`, `quarantine`) may be other processes.

**Two files, one truth.** A message is journalled by one commit in its day's file. `state.sqlite` follows: it is a checkpoint
of what the messages say (head, seqs, counts, quarantine), at most some seconds old, and names the head it belongs to. A kill
or power cut between the two leaves the checkpoint behind the days, never ahead, since each commit is on the disk before the
next begins; who opens the journal folds the messages after the checkpoint's head again, with the same result. A checkpoint
ahead of the days means that messages were lost from the disk, and opening refuses.

What does not follow from the messages is written in transactions of its own: cursor, late refusals and the store's
duplicates together, and a release's progress together with its counts. A kill before such a transaction lets the store
writer repeat the batch, which changes nothing in the store. Only the counts of messages that came again (`duplicate_*`)
since the last checkpoint are lost by a kill; the account does not need them.

Without `state.sqlite` it is made again from the days: the cursor is then before the first message, so the store writer
offers all of them once more, and releases are repeated; the store knows both. Seqs of days that retention removed are
unknown then.
"""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from ingest.incoming import Incoming
from ingest.journal.blocks import message_of
from ingest.journal.compression import compress_some
from ingest.journal.connections import take_lock, transaction, translated_errors
from ingest.journal.days import Days
from ingest.journal.figures import FolderFigures, folder_figures
from ingest.journal.late import Key, Late, LateRow, key_of, write_late
from ingest.journal.records import Appending, JournalMessage
from ingest.journal.releases import Release, count_requests, has_requests, releases_waiting, write_released
from ingest.journal.retention import clean, prune
from ingest.journal.runs import source_number
from ingest.journal.state_file import read_marks
from ingest.journal.writing import Writing
from ingest.store.records import ReadingRow
from ingest.validation import Assessment


class Journal:
    """The writer's side; methods may be called from any thread.

    Raises
    ------
    JournalUnavailableError
        By each method, if the files cannot be written now (disk full, locked): nothing of the call stays.
    JournalError
        If another process writes this journal, a file is damaged or of a newer version, or messages were lost from the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Taken in this order where several are: state in memory, state file, reading connections.
        self._lock = threading.Lock()
        self._state_lock = threading.Lock()
        self._reading_lock = threading.Lock()
        self._upkeep_lock = threading.Lock()
        self._reader_days = Days(folder)
        with translated_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._held = take_lock(folder)
        try:
            with translated_errors(folder):
                clean(folder)
                self._writing = Writing(folder, intake_lock=self._lock, state_lock=self._state_lock)
                marks = read_marks(self._writing.state_file)
        except BaseException:
            self._held.close()
            raise
        self._cursor = marks.cursor
        self._release = marks.release

    def append_many(self, messages: Sequence[Incoming], assessments: Sequence[Assessment]) -> Appending:
        """Journal messages in one commit, in their order; when it returns they are on the disk.

        The same key (gateway, boot, seq) with the same topic and bytes is a duplicate and is only counted; with others it is
        kept as cloned. A refused message without a readable key is kept once; a retained status that is the gateway's last
        one is the same one again.
        """
        with self._lock:
            return self._writing.append(messages, assessments)

    def checkpoint(self) -> None:
        """Write the state as of now; `append_many` goes on meanwhile."""
        is_whole = False
        while not is_whole:
            with self._lock, translated_errors(self._folder):
                state, unwritten, is_new = self._writing.begin_checkpoint()
            with translated_errors(self._folder):
                self._writing.checkpoints.write(state, unwritten)
            is_whole = is_new and unwritten.is_written

    # The store writer's side.

    def read_after(self, cursor: int, *, limit: int = 500) -> list[JournalMessage]:
        """Messages with an id above `cursor`, in order."""
        found: list[JournalMessage] = []
        with self._reading_lock, translated_errors(self._folder):
            for message_id, _, record in self._reader_days.records_from(cursor + 1):
                found.append(message_of(record, message_id))
                if len(found) >= limit:
                    break
        return found

    @property
    def last_id(self) -> int:
        """Id of the newest message; 0 without one."""
        return self._writing.last_id

    def cursor(self) -> int:
        """Id of the last message that the store has taken."""
        return self._cursor

    def advance(
        self,
        cursor: int,
        *,
        refused: Sequence[LateRow] = (),
        duplicates: Sequence[ReadingRow] = (),
    ) -> None:
        """Note that the store has taken everything up to `cursor`.

        `refused` are rows that it did not take, each with code and text; `duplicates` those that it had from other messages.
        """
        late = self._located(refused, duplicates)
        with self._state_lock, translated_errors(self._folder):
            connection = self._writing.state_file
            with transaction(connection):
                write_late(connection, late)
                connection.execute("UPDATE mark SET cursor = ?", (cursor,))
            self._cursor = cursor

    def _located(self, refused: Sequence[LateRow], duplicates: Sequence[ReadingRow]) -> Late:
        """What the store said of rows, with the messages that they came in."""
        found: dict[Key, JournalMessage | None] = {}
        with self._reading_lock:
            self._reader_days.days()
        wanted = {key_of(row) for row, _, _ in refused}
        if self._writing.days_differ:
            wanted |= {key_of(row) for row in duplicates}
        for key in sorted(wanted):
            gateway_id, boot_id, seq = key
            with self._lock:
                self._writing.ready()
                message_id = self._writing.recent.find(source_number(gateway_id, boot_id), seq)
            with self._reading_lock, translated_errors(self._folder):
                found[key] = self._reader_days.with_key(gateway_id, boot_id, seq, guess=message_id)
        days = {}
        with self._reading_lock, translated_errors(self._folder):
            for message in found.values():
                if message is not None:
                    days[message.message_id] = self._reader_days.day_holding(message.message_id) or 0
        return Late(refused, duplicates, found, days)

    # Releases from quarantine.

    def releases_waiting(self, limit: int = 100) -> list[Release]:
        """Messages or items that were released from quarantine and are not in the store yet, oldest first."""
        if has_requests(self._folder, after=self._release):
            self.checkpoint()  # a release may be of what came a moment ago
        with self._state_lock, self._reading_lock, translated_errors(self._folder):
            connection = self._writing.state_file
            found = releases_waiting(self._folder, connection, self._reader_days, limit)
            self._release = read_marks(connection).release
        return found

    def released(
        self,
        releases: Sequence[Release],
        *,
        refused: Sequence[LateRow] = (),
        duplicates: Sequence[ReadingRow] = (),
    ) -> None:
        """Note that the store has taken releases, apart from rows that it refused: those stay in quarantine."""
        with self._state_lock, translated_errors(self._folder):
            connection = self._writing.state_file
            with transaction(connection):
                write_released(connection, releases, refused=refused, duplicates=duplicates)
            self._release = read_marks(connection).release

    # What operators watch; no call waits for another one's work.

    def figures(self) -> FolderFigures:
        """Days and bytes of the folder."""
        with translated_errors(self._folder):
            return folder_figures(self._folder)

    def releases_asked_for(self) -> int:
        """Requests for releases from quarantine that are not carried out yet."""
        with translated_errors(self._folder):
            return count_requests(self._folder, after=self._release)

    @property
    def checkpoint_age_s(self) -> float:
        """Since the state was last written; it is not while nothing comes. [s]"""
        return time.monotonic() - self._writing.checkpoints.written_at_s

    # Upkeep.

    def maintain(self, now_ms: int, *, keep_days: int | None = None) -> bool:
        """Do a part of the upkeep: remove days that are too old, compress some of a closed day; whether more waits.

        Meant for a thread of its own: a part takes about a second, and holds up `append_many` for some milliseconds at most.
        """
        with self._lock, translated_errors(self._folder):
            self._writing.write_if_due()
        if keep_days is not None:
            self.prune(keep_days=keep_days, now_ms=now_ms)
        with self._upkeep_lock, translated_errors(self._folder):
            return compress_some(self._folder)

    def prune(self, *, keep_days: int, now_ms: int) -> list[str]:
        """Remove days received before the last `keep_days` whose messages are all in the store; gives their names."""
        with self._upkeep_lock, self._state_lock, translated_errors(self._folder):
            return prune(self._folder, self._writing.state_file, keep_days=keep_days, now_ms=now_ms)

    def close(self) -> None:
        """Write the index and the state, and give back the files."""
        with self._upkeep_lock, self._lock:
            try:
                with translated_errors(self._folder):
                    self._writing.finish()
            finally:
                with self._state_lock, self._reading_lock:
                    self._reader_days.close()
                    self._writing.close()
                self._held.close()
        self._writing.checkpoints.join()
