"""The newest part of the index: messages that are journalled and not yet in their day's index. Pure."""

from collections.abc import Sequence

import numpy as np

from ingest.journal.blocks import Record
from ingest.journal.runs import Placed, RunRow, rows_of, source_number

#: So many messages go into the index at once. More is less to write and more to look through after a kill. [messages]
_FLUSH_MESSAGES = 32_768
#: A quiet journal's index is written this often. [ms of receipt]
_FLUSH_EVERY_MS = 60_000


class Recent:
    """Where messages are that came since the last flush of the index."""

    def __init__(self, *, since_ms: int | None = None) -> None:
        self._placed: list[Placed] = []
        self._count = 0
        self._since_ms = since_ms
        self._ids: dict[tuple[int, int], int] = {}
        self._known = 0

    def add(self, sources: Sequence[int], seqs: Sequence[int], ids: Sequence[int]) -> None:
        """Note messages by the numbers of their sources."""
        if ids:
            self._placed.append(
                Placed(
                    np.array(sources, dtype=np.int64),
                    np.array(seqs, dtype=np.int64),
                    np.array(ids, dtype=np.int64),
                )
            )
            self._count += len(ids)

    def add_record(self, record: Record, message_id: int) -> None:
        """Note a message that was read."""
        if record.boot_id is not None and record.seq is not None and record.outcome != "cloned":
            self.add([source_number(record.gateway_id, record.boot_id)], [record.seq], [message_id])

    def find(self, source: int, seq: int) -> int | None:
        """Id of a seq of a source."""
        # Made at the first look-up: most batches have nothing that came before.
        for placed in self._placed[self._known :]:
            keys = zip(placed.sources.tolist(), placed.seqs.tolist(), strict=True)
            self._ids.update(zip(keys, placed.ids.tolist(), strict=True))
        self._known = len(self._placed)
        return self._ids.get((source, seq))

    def is_due(self, now_ms: int) -> bool:
        """Whether the index should be written with the next commit; `now_ms` is a message's receipt."""
        if self._since_ms is None or now_ms < self._since_ms:
            self._since_ms = now_ms
        return self._count > 0 and (
            self._count >= _FLUSH_MESSAGES or now_ms - self._since_ms >= _FLUSH_EVERY_MS
        )

    def rows(self) -> list[RunRow]:
        """Rows for the index."""
        return rows_of(self._placed) if self._placed else []

    def flushed(self, now_ms: int | None = None) -> None:
        """Forget what is in the day's index now."""
        self.__init__(since_ms=now_ms)  # type: ignore[misc]
