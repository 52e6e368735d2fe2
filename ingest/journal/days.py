"""All days of a journal's folder as one sequence of blocks, for reading, by one thread at a time."""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Self

import msgspec

from ingest.errors import JournalError
from ingest.journal.blocks import (
    GENESIS,
    Block,
    Head,
    Record,
    day_name,
    decode_record,
    message_of,
    split_body,
)
from ingest.journal.connections import translated_errors
from ingest.journal.day_file import OPEN_SUFFIX, PACKED_SUFFIX, DayFile, open_day
from ingest.journal.records import JournalMessage
from ingest.journal.runs import source_number

_EPOCH = date(1970, 1, 1)
#: Days that stay open between two look-ups.
_OPEN_AT_MOST = 16
#: Days may be compressed or removed between listing and opening them; look again this often.
_ATTEMPTS = 5
#: Blocks kept at hand: messages that come again mostly come again together.
_BLOCKS_AT_HAND = 8


def list_days(folder: Path) -> dict[int, Path]:
    """Files of a journal by their day, oldest first; the packed form where there are both."""
    found: dict[int, Path] = {}
    for suffix in (OPEN_SUFFIX, PACKED_SUFFIX):
        for path in folder.glob(f"????-??-??{suffix}"):
            try:
                day = date.fromisoformat(path.name.removesuffix(suffix))
            except ValueError:
                continue
            found[(day - _EPOCH).days] = path
    return dict(sorted(found.items()))


def day_path(folder: Path, day: int) -> Path:
    """File of a day while it may grow."""
    return folder / f"{day_name(day)}{OPEN_SUFFIX}"


class Days:
    """Reader of a journal's days; files that appear, are compressed or removed meanwhile are followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[Path, DayFile] = OrderedDict()
        self._first_ids: dict[int, int] = {}
        self._paths: dict[int, Path] = {}
        self._blocks: OrderedDict[int, tuple[int, list[msgspec.Raw]]] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the files."""
        while self._open:
            self._open.popitem()[1].close()

    def days(self) -> list[int]:
        """Days that have a file, oldest first."""
        self._paths = list_days(self._folder)
        listed = set(self._paths.values())
        for path in [path for path in self._open if path not in listed]:
            self._open.pop(path).close()  # compressed or removed: its disk space is given back
        return list(self._paths)

    def follows(self) -> Head:
        """Head that the oldest day follows."""
        days = self.days()
        return self.day(days[0]).follows if days else Head(0, GENESIS)

    def head(self) -> Head:
        """End of the chain."""
        days = self.days()
        if not days:
            return Head(0, GENESIS)
        file = self.day(days[-1])
        with translated_errors(file.path):
            return file.head()

    def day(self, day: int) -> DayFile:
        """Open one day.

        Raises
        ------
        JournalError
            If there is none, it is damaged, or of a newer layout.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            if attempt > 1 or day not in self._paths:
                self._paths = list_days(self._folder)
            path = self._paths.get(day)
            if path is None:
                break
            with translated_errors(path):
                try:
                    return self._opened(path)
                except sqlite3.OperationalError:
                    if attempt == _ATTEMPTS or path.exists():
                        raise
        raise JournalError(f"journal {self._folder}: day {day} has no file any more")

    def _opened(self, path: Path) -> DayFile:
        found = self._open.get(path)
        if found is None:
            found = self._open[path] = open_day(path)
            while len(self._open) > _OPEN_AT_MOST:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return found

    def _follows_id(self, day: int) -> int:
        if day not in self._first_ids:
            self._first_ids[day] = self.day(day).follows.message_id
        return self._first_ids[day]

    def day_holding(self, message_id: int) -> int | None:
        """Day in which a message is or would be, of those listed last; None before the first."""
        days = list(self._paths)
        low, high = 0, len(days)
        while low < high:
            middle = (low + high) // 2
            if self._follows_id(days[middle]) < message_id:
                low = middle + 1
            else:
                high = middle
        return days[low - 1] if low else None

    def blocks_from(self, message_id: int) -> Iterator[tuple[int, Block]]:
        """Blocks with their days, from the one that holds a message to the end, in order.

        Raises
        ------
        JournalError
            If messages from there on are missing: a file is gone, or a block was taken out.
        """
        days = self.days()
        day = self.day_holding(message_id)
        next_id = message_id
        for one in days if day is None else days[days.index(day) :]:
            file = self.day(one)
            with translated_errors(file.path):
                for block in file.blocks_from(next_id):
                    if block.first_id > next_id:
                        raise JournalError(
                            f"journal {self._folder}: messages {next_id} to {block.first_id - 1} are missing before "
                            f"{file.path.name} {block.first_id}: put back the file that held them"
                        )
                    yield one, block
                    next_id = block.first_id + block.length

    def records_from(self, message_id: int) -> Iterator[tuple[int, int, Record]]:
        """Id, day and record of each message from one on, in order; each is decoded when it is asked for."""
        for day, block in self.blocks_from(message_id):
            raws = self._split(block)
            for index in range(max(0, message_id - block.first_id), len(raws)):
                yield block.first_id + index, day, self._decoded(raws, block.first_id, block.first_id + index)

    def message(self, message_id: int) -> JournalMessage | None:
        """One message; None if the journal has no such id, or no longer."""
        found = self._message(message_id)
        if found is None:
            self.days()
            found = self._message(message_id)
        return found

    def _message(self, message_id: int) -> JournalMessage | None:
        for first_id, (count, raws) in self._blocks.items():
            if first_id <= message_id < first_id + count:
                return message_of(self._decoded(raws, first_id, message_id), message_id)
        day = self.day_holding(message_id)
        if day is None:
            return None
        file = self.day(day)
        with translated_errors(file.path):
            block = next(file.blocks_from(message_id), None)
        if block is None or not block.first_id <= message_id < block.first_id + block.length:
            return None
        raws = self._split(block)
        self._blocks[block.first_id] = (block.length, raws)
        while len(self._blocks) > _BLOCKS_AT_HAND:
            self._blocks.popitem(last=False)
        return message_of(self._decoded(raws, block.first_id, message_id), message_id)

    def _split(self, block: Block) -> list[msgspec.Raw]:
        try:
            return split_body(block.body)
        except msgspec.MsgspecError as error:
            raise self._damaged(block.first_id, error) from error

    def _decoded(self, raws: list[msgspec.Raw], first_id: int, message_id: int) -> Record:
        try:
            return decode_record(raws[message_id - first_id])
        except (msgspec.MsgspecError, IndexError, UnicodeDecodeError) as error:
            raise self._damaged(first_id, error) from error

    def _damaged(self, first_id: int, error: Exception) -> JournalError:
        return JournalError(
            f"journal {self._folder}: the block of message {first_id} is damaged ({error}): put back a copy of the file "
            "that is whole"
        )

    def find(self, *, gateway_id: str, boot_id: str, seq: int) -> Iterator[JournalMessage]:
        """Messages with a key that the index of the days listed last knows, the newest first; it has no cloned ones."""
        source = source_number(gateway_id, boot_id)
        for day in reversed(list(self._paths) or self.days()):
            file = self.day(day)
            with translated_errors(file.path):
                for message_id in file.find_ids(source=source, seq=seq):
                    message = self._message(message_id)
                    if message is not None and (message.gateway_id, message.boot_id, message.seq) == (
                        gateway_id,
                        boot_id,
                        seq,
                    ):
                        yield message

    def with_key(
        self, gateway_id: str, boot_id: str, seq: int, *, guess: int | None = None
    ) -> JournalMessage | None:
        """Message that came first with a key; `guess` is an id to look at before the index."""
        if guess is not None:
            message = self.message(guess)
            if message is not None and (message.gateway_id, message.boot_id) == (gateway_id, boot_id):
                return message
        return next(self.find(gateway_id=gateway_id, boot_id=boot_id, seq=seq), None)
