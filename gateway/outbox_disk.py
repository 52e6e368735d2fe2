"""The disk under an outbox when it is nearly full: a reserve for receipts, and a log that is kept short."""

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

#: Below this the disk is nearly full. [byte]
_SCARCE_BYTES = 16 * 1024 * 1024
#: The log is copied into the file when it has this much; that much when the disk is nearly full. [byte]
LOG_BYTES, _SCARCE_LOG_BYTES = 4 * 1024 * 1024, 64 * 1024
#: Forgetting messages takes room in the log first. So much is held for that. [byte]
_RESERVE_BYTES = 512 * 1024
#: Once the reserve is given up, new messages leave this much alone, or they would take it: then not even a receipt could
#: be noted, and nothing would ever free the disk. More than the log of a scarce disk, which is copied into the file. [byte]
_FLOOR_BYTES = 256 * 1024
#: So much room within the file is room for new messages, whatever the disk has left. [byte]
_OWN_ROOM_BYTES = 64 * 1024


class Disk:
    """The disk of one outbox.

    A full disk must not stop receipts, which are what frees it: a file beside the outbox takes room that is given up
    for them, and taken again when there is plenty.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._folder = path.parent
        self._reserve = path.with_suffix(".reserve")
        self._connection = connection
        self._page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        self._scarce: bool | None = None
        self._held = False

    def free(self) -> int:
        """What the disk has left, without the reserve. [byte]"""
        return shutil.disk_usage(self._folder).free

    def look(self) -> None:
        """Keep the log short while the disk is nearly full, and the reserve in place while it is not."""
        scarce = self.free() < _SCARCE_BYTES
        if scarce != self._scarce:
            self._scarce = scarce
            log_bytes = _SCARCE_LOG_BYTES if scarce else LOG_BYTES
            self._connection.execute(f"PRAGMA wal_autocheckpoint={log_bytes // self._page_bytes}")
        if not self._held and not self._reserve_is_there():
            self._take_reserve()

    def has_room(self) -> bool:
        """Whether there is room for new messages, beside what receipts need."""
        if self._held or self.free() >= _FLOOR_BYTES:
            return True
        (unused,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return bool(unused * self._page_bytes >= _OWN_ROOM_BYTES)

    def _reserve_is_there(self) -> bool:
        with suppress(OSError):
            self._held = self._reserve.stat().st_size == _RESERVE_BYTES
        return self._held

    def _take_reserve(self) -> None:
        if self.free() < 2 * _RESERVE_BYTES:
            return
        try:
            # Real bytes, not a hole; nobody reads them.
            self._reserve.write_bytes(bytes(_RESERVE_BYTES))
            self._held = True
        except OSError:
            self._reserve.unlink(missing_ok=True)

    def give_reserve(self) -> None:
        """Give the reserve up for what frees room, if it was not given up before."""
        if self._held or self._reserve_is_there():
            self._reserve.unlink(missing_ok=True)
            self._held = False
            self.shorten_log()

    def shorten_log(self) -> None:
        """Copy the log into the file and give its room back, as far as the disk has room for that."""
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
