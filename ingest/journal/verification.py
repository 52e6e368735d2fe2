"""Walking the chain through all days, in bounded memory, while ingest may write."""

from pathlib import Path

import msgspec

from ingest.errors import JournalError
from ingest.journal.blocks import GENESIS, Block, Head, decode_body, fits
from ingest.journal.connections import translated_errors
from ingest.journal.days import Days
from ingest.journal.records import Verification
from ingest.journal.state_file import NAME, Marks, open_state, read_marks, read_removed

#: A column of a block that is of another type than written; SQLite itself does not care.
_TYPES = (int, int, bytes, bytes)


def verify_journal(folder: Path) -> Verification:
    """Walk a journal's chain; it shows the first block with a message that was changed, added, moved or taken out.

    The checkpoint is up to a second or so behind while ingest runs: a tail cut off within it shows only by the gateways'
    accounts. Whoever can write the files can also write a whole new chain: keep the head's hash elsewhere to notice that.

    Raises
    ------
    JournalError
        If there is no journal in the folder, or its state was written by a newer version.
    """
    path = folder / NAME
    with translated_errors(folder), Days(folder) as days:
        marks: Marks | None = None
        days_begin = Head(0, GENESIS)
        if path.exists():
            connection = open_state(path)
            try:
                marks, days_begin = read_marks(connection), read_removed(connection)
            finally:
                connection.close()
        elif not days.days():
            raise JournalError(f"no journal at {folder}: name the data folder of an ingest that has run")
        walk = _Walk(days_begin, marks)
        previous_days: list[int] = []
        # A day may begin while the others are read.
        while previous_days != (listed := days.days()):
            for day in listed[len(previous_days) :]:
                walk.day(days, day)
                if walk.reason:
                    return walk.result()
            previous_days = listed
        walk.finish()
        return walk.result()


class _Walk:
    """How far the walk is, and what it found."""

    def __init__(self, begin: Head, marks: Marks | None) -> None:
        self.head = begin
        self.messages = 0
        self.broken_at: int | None = None
        self.reason = ""
        self._marks = marks
        self._met_checkpoint = marks is None or marks.head.message_id <= begin.message_id

    def day(self, days: Days, day: int) -> None:
        """Walk through one day."""
        next_id = self.head.message_id + 1
        try:
            file = days.day(day)
            if file.day != day:
                self._break(next_id, f"{file.path.name} was another day's file")
            elif file.follows != self.head:
                self._break(
                    next_id,
                    f"{file.path.name} follows message {file.follows.message_id} with another hash or length than the days "
                    f"before, which end after {self.head.message_id}: a day's file, or the end of one, is missing",
                )
            else:
                for block in file.blocks_from(0):
                    self._block(block, day)
                    if self.reason:
                        return
        except JournalError as error:
            self._break(self.head.message_id + 1, str(error))

    def _block(self, block: Block, day: int) -> None:
        next_id = self.head.message_id + 1
        if not all(isinstance(column, kind) for column, kind in zip(block, _TYPES, strict=True)):
            self._break(next_id, "a column is of another type than written")
        elif block.first_id != next_id:
            self._break(next_id, f"message {next_id} is missing, {block.first_id} follows")
        elif block.length < 1 or not fits(block, self.head, day=day):
            self._break(
                next_id,
                f"the block of messages {next_id} to {next_id + block.length - 1} has another hash than its content gives",
            )
        else:
            try:
                count = len(decode_body(block.body))
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                self._break(next_id, f"the block cannot be decoded: {error}")
                return
            if count != block.length:
                self._break(next_id, f"the block holds {count} messages and says {block.length}")
                return
            self.head = block.head
            self.messages += block.length
            if self._marks is not None and self._marks.head.message_id == self.head.message_id:
                self._met_checkpoint = True
                if self._marks.head != self.head:
                    self._break(
                        next_id, "the chain has another hash here than the checkpoint: it was written anew"
                    )

    def finish(self) -> None:
        """Compare the end with the checkpoint, and with what the store was given since."""
        if self._marks is None:
            return
        checkpoint = self._marks.head.message_id
        long = max(checkpoint, self._marks.cursor)
        end = self.head.message_id
        if long > end:
            self._break(end + 1, f"the journal ends after {end}, it was {long} messages long")
        elif not self._met_checkpoint:
            self._break(checkpoint + 1, f"no block ends at message {checkpoint}, where the checkpoint is")

    def _break(self, message_id: int, reason: str) -> None:
        self.broken_at, self.reason = message_id, reason

    def result(self) -> Verification:
        """What was found."""
        return Verification(self.messages, self.head.hash.hex(), self.broken_at, self.reason)
