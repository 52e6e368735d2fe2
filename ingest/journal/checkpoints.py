"""Checkpoints into the state file: a small one at once, a large one by a thread, in parts between which intake goes on.

A hundred thousand gateways take most of a second to write. What of it needs the lock that intake needs is done in parts of
some milliseconds; sorting and writing need only the state file's lock.
"""

import sqlite3
import threading
import time

from ingest.journal.connections import transaction
from ingest.journal.state import State
from ingest.journal.state_file import NEWEST_RANGES, write_checkpoint
from ingest.journal.unwritten import Unwritten

_EVERY_S = 1.0
#: A checkpoint waits for so many times as long as the last one took: it is at most a twentieth of the work.
_REST = 20
#: (gateway, boot) kept in memory, about 0.6 kB each.
_SOURCES_IN_MEMORY = 131_072
#: Sources collected while the lock is held: a few milliseconds.
_AT_ONCE = 1_000
#: Between two parts, so that who waits for the lock has it. [s]
_PAUSE_S = 0.001


class Checkpoints:
    """Writes a journal's states into its state file, one checkpoint after the other.

    Parameters
    ----------
    state_file : sqlite3.Connection
        Guarded by `state_lock`.
    intake_lock : threading.Lock
        Guards the states; taken before `state_lock` where both are.
    """

    def __init__(
        self, state_file: sqlite3.Connection, *, intake_lock: threading.Lock, state_lock: threading.Lock
    ) -> None:
        self._state_file = state_file
        self._intake_lock = intake_lock
        self._state_lock = state_lock
        self._next_s = 0.0
        #: When the last one was written, or the files were opened. [s of the monotonic clock]
        self.written_at_s = time.monotonic()
        self._thread: threading.Thread | None = None

    def be_due(self) -> None:
        """Have the next look find that it is time."""
        self._next_s = 0.0

    def write_if_due(self, state: State, *, days_differ: bool) -> None:
        """Write a state if the last time is a while ago; the caller holds the intake lock.

        It is only put off if it cannot be written: the messages are safe.
        """
        if time.monotonic() < self._next_s or not state.has_news or self._is_under_way():
            return
        unwritten, _ = state.begin_checkpoint(days_differ=days_differ)
        if len(unwritten) > _AT_ONCE:
            self._thread = threading.Thread(
                target=self._write_beside, args=(state, unwritten), name="journal-checkpoint"
            )
            self._thread.start()
            return
        try:
            self._write_held(state, unwritten)
        except sqlite3.Error:
            self._put_off()

    def write_now(self, state: State, *, days_differ: bool) -> None:
        """Write all of a state; the caller holds the intake lock.

        Raises
        ------
        sqlite3.Error
            If it cannot be written.
        """
        is_new = False
        while not is_new:
            unwritten, is_new = state.begin_checkpoint(days_differ=days_differ)
            self._write_held(state, unwritten)

    def write(self, state: State, unwritten: Unwritten) -> None:
        """Write a checkpoint that was begun; the caller holds no lock, and another thread may be about it too.

        Raises
        ------
        sqlite3.Error
            If it cannot be written.
        """
        begun_s = time.monotonic()
        while True:
            with self._intake_lock:
                if not unwritten.collect_some(_AT_ONCE):
                    break
            time.sleep(_PAUSE_S)
        self._put(unwritten)
        with self._intake_lock:
            state.settled(unwritten, keep_sources=_SOURCES_IN_MEMORY, keep_ranges=NEWEST_RANGES)
        self._rest(begun_s)

    def abandon(self, unwritten: Unwritten) -> bool:
        """Have a checkpoint never be written; False if it was. The caller holds the intake lock."""
        unwritten.collect_some()
        with self._state_lock:
            unwritten.is_abandoned = not unwritten.is_written
        return unwritten.is_abandoned

    def join(self) -> None:
        """Wait for the thread; the caller holds no lock."""
        if self._thread is not None:
            self._thread.join()

    def _is_under_way(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _write_held(self, state: State, unwritten: Unwritten) -> None:
        begun_s = time.monotonic()
        unwritten.collect_some()
        self._put(unwritten)
        state.settled(unwritten, keep_sources=_SOURCES_IN_MEMORY, keep_ranges=NEWEST_RANGES)
        self._rest(begun_s)

    def _write_beside(self, state: State, unwritten: Unwritten) -> None:
        try:
            self.write(state, unwritten)
        except sqlite3.Error:
            self._put_off()

    def _put(self, unwritten: Unwritten) -> None:
        """Write what was collected, once, whoever comes first."""
        with self._state_lock:
            if not (unwritten.is_written or unwritten.is_abandoned):
                with transaction(self._state_file):
                    write_checkpoint(self._state_file, unwritten)
                unwritten.is_written = True

    def _rest(self, begun_s: float) -> None:
        self.written_at_s = now_s = time.monotonic()
        self._next_s = now_s + max(_EVERY_S, _REST * (now_s - begun_s))

    def _put_off(self) -> None:
        self._next_s = time.monotonic() + _EVERY_S
