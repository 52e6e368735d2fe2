"""The journal's open files and its state in memory: loading, appending, checkpoints. One thread at a time.

A commit that fails leaves the state in memory ahead of the files: it is loaded anew before the next use.
"""

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingest.errors import JournalError
from ingest.incoming import Incoming
from ingest.journal.appending import Batch
from ingest.journal.blocks import day_of, encode_body, make_block
from ingest.journal.checkpoints import Checkpoints
from ingest.journal.connections import transaction, translated_errors
from ingest.journal.day_file import DayFile, make_day, open_day_for_writing
from ingest.journal.days import Days, day_path
from ingest.journal.recent import Recent
from ingest.journal.records import Appending
from ingest.journal.sources import Count
from ingest.journal.state import State, fold_block
from ingest.journal.state_file import (
    NAME,
    SettledState,
    open_state,
    open_state_for_writing,
    read_marks,
)
from ingest.journal.unwritten import Unwritten
from ingest.validation import Assessment

#: After so many folded messages a new state file is written on.
_REBUILD_STEP = 100_000
_DUPLICATES = range(Count.DUPLICATE_MESSAGES, Count.DUPLICATE_STATUSES + 1)


class Writing:
    """What the writing process has open of a journal.

    `state_lock` guards the state file's writing connection, `intake_lock` all else: the caller holds it.
    """

    def __init__(self, folder: Path, *, intake_lock: threading.Lock, state_lock: threading.Lock) -> None:
        self._folder = folder
        self._days = Days(folder)
        self._came_again: list[tuple[tuple[int, str, str], list[int]]] = []
        self._loaded = False
        self._settled_file: sqlite3.Connection | None = None
        self._day: DayFile | None = None
        self.recent = Recent()
        with translated_errors(folder):
            self.state_file = open_state_for_writing(folder / NAME, self._days.follows())
        self.checkpoints = Checkpoints(self.state_file, intake_lock=intake_lock, state_lock=state_lock)
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def _load(self) -> None:
        """Take the files as they are on the disk; the state file's writing connection stays as it is."""
        self._loaded = False
        if self._day is not None:
            self._day.close()
            self._day = None
        with translated_errors(self._folder):
            newest = max(self._days.days(), default=0)
            path = day_path(self._folder, newest)
            if path.exists():
                self._day = open_day_for_writing(path)
            self._load_state(newest)
        self._loaded = True

    def _load_state(self, newest: int) -> None:
        if self._settled_file is None:
            self._settled_file = open_state(self._folder / NAME)
        head, marks = self._days.head(), read_marks(self._settled_file)
        # The store may have been given what no checkpoint has: its cursor says that the journal was longer, too.
        was = max(marks.head.message_id, marks.cursor)
        if was > head.message_id:
            raise JournalError(
                f"journal {self._folder}: it ends after message {head.message_id}, and was {was} messages "
                f"long: put back the newest day's file with its -wal. If that is lost, move {NAME} away: it is made again, "
                "without the lost messages"
            )
        day = self._days.day_holding(marks.head.message_id + 1)
        self._state = State(
            SettledState(self._settled_file), head=marks.head, day=newest if day is None else day
        )
        self.days_differ = marks.days_differ
        self.recent = Recent()
        self.checkpoints.be_due()
        self._fold_all()
        if self._day is not None:
            for message_id, _, record in self._days.records_from(self._day.indexed_to() + 1):
                self.recent.add_record(record, message_id)
        for key, numbers in self._came_again:
            self._state.add(*key, numbers)
        self._came_again = []

    def _fold_all(self) -> None:
        """Fold what came after the checkpoint; a long way is written on step by step."""
        count = 0
        for day, block in self._days.blocks_from(self._state.head.message_id + 1):
            self._state.turn_to(day)
            for record in fold_block(self._state, block):
                self.days_differ |= day_of(record.received_at_ms) != day
            count += block.length
            if count >= _REBUILD_STEP:
                self.checkpoints.write_now(self._state, days_differ=self.days_differ)
                count = 0

    def ready(self) -> State:
        """State as of the files' end."""
        if not self._loaded:
            self._load()
        return self._state

    @property
    def last_id(self) -> int:
        """Id of the newest message; as of the last one before a failure, while the files are not read again."""
        return self._state.head.message_id

    def append(self, messages: Sequence[Incoming], assessments: Sequence[Assessment]) -> Appending:
        """Journal messages in one commit; see `Journal.append_many`."""
        state = self.ready()
        first_id = state.head.message_id + 1
        if not messages:
            return Appending([], first_id, first_id - 1)
        received = [message.received_at_ms for message in messages]
        latest_ms = max(received)
        try:
            with translated_errors(self._folder):
                self._turn_to(day_of(latest_ms), day_of(min(received)))
                batch = Batch(state, self.recent, self._days)
                batch.take(messages, assessments)
                self._commit(batch, latest_ms)
        except BaseException:
            # What the batch did to the state is undone by reading it anew.
            self._loaded = False
            self._carry_duplicates(state)
            raise
        batch.count_duplicates()
        self.checkpoints.write_if_due(state, days_differ=self.days_differ)
        return Appending(batch.results, first_id, state.head.message_id)

    def _turn_to(self, day: int, earliest: int) -> None:
        """Have the file of a day open; days never go back, whatever the clock does."""
        current = self._day
        if current is not None and day <= current.day:
            self.days_differ |= earliest != current.day
            return
        newest = max(self._days.days(), default=None)
        if current is not None:
            self._flush_index()
        elif newest is not None:
            day = max(day, newest + 1)  # the newest file is compressed, and takes nothing more
        made = make_day(day_path(self._folder, day), day=day, follows=self._state.head)
        if current is not None:
            current.close()
        self._day = made
        self._days.days()
        self._state.turn_to(day)
        self.days_differ |= earliest != day

    def _flush_index(self) -> None:
        if self._day is not None and (rows := self.recent.rows()):
            with transaction(self._day.connection):
                self._day.insert_runs(rows, last_id=self._state.head.message_id)
            self.recent.flushed()

    def _commit(self, batch: Batch, now_ms: int) -> None:
        if not batch.bodies or self._day is None:
            return
        block = make_block(
            self._state.head, day=self._day.day, count=len(batch.bodies), body=encode_body(batch.bodies)
        )
        is_due = self.recent.is_due(now_ms)
        with transaction(self._day.connection):
            self._day.insert_block(block)
            if is_due:
                self._day.insert_runs(self.recent.rows(), last_id=self._state.head.message_id)
        if is_due:
            self.recent.flushed(now_ms)
        self._state.head = block.head
        self.recent.add(batch.sources, batch.seqs, batch.ids)

    def _carry_duplicates(self, state: State) -> None:
        """Keep what no file has: counts of messages that came again."""
        counted: list[tuple[Any, ...]] = []
        # The messages of a checkpoint under way are read again, too, unless the file has it by now.
        if state.unwritten is not None and self.checkpoints.abandon(state.unwritten):
            counted += state.unwritten.tallies
        state.turn_to(state.day + 1)
        counted += [(*key, *numbers) for key, numbers in state.finished.items()]
        for day, gateway_id, boot_id, *numbers in counted:
            kept = [number if at in _DUPLICATES else 0 for at, number in enumerate(numbers)]
            if any(kept):
                self._came_again.append(((day, gateway_id, boot_id), kept))
        state.finished.clear()

    def begin_checkpoint(self) -> tuple[State, Unwritten, bool]:
        """State, a checkpoint of it to be written, and whether that is as of now."""
        state = self.ready()
        return state, *state.begin_checkpoint(days_differ=self.days_differ)

    def write_if_due(self) -> None:
        """Write the state if the last time is a while ago."""
        self.checkpoints.write_if_due(self.ready(), days_differ=self.days_differ)

    def finish(self) -> None:
        """Write what is not in the files' index and state yet, if the state is sound."""
        if self._loaded:
            self._flush_index()
            self.checkpoints.write_now(self._state, days_differ=self.days_differ)

    def close(self) -> None:
        """Give back the files."""
        if self._loaded and self._state.unwritten is not None:
            self.checkpoints.abandon(self._state.unwritten)
        self._loaded = False
        self._days.close()
        if self._day is not None:
            self._day.close()
        if self._settled_file is not None:
            self._settled_file.close()
        self.state_file.close()
