"""What a state has and the state file has not, as of one message: collected in parts while the state goes on. Pure."""

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from ingest.journal.blocks import Head
from ingest.journal.sources import Source

if TYPE_CHECKING:
    from ingest.journal.state import QuarantineRow, TallyKey


class StatusRow(NamedTuple):
    """Content of a gateway's last status."""

    gateway_id: str
    digest: bytes


class Unwritten:
    """One checkpoint on its way into the state file.

    It is of the instant at which it was begun. A source that changes afterwards is collected just before, by
    `State.touch`; the others wait until somebody comes by. Collecting needs the lock that guards the state, writing
    what was collected does not.
    """

    def __init__(
        self,
        *,
        head: Head,
        day: int,
        days_differ: bool,
        sources: set[Source],
        finished: "dict[TallyKey, list[int]]",
        quarantine: "list[QuarantineRow]",
        digests: dict[bytes, int],
        statuses: list[StatusRow],
        epoch: int,
    ) -> None:
        self.head = head
        self.day = day
        self.days_differ = days_differ
        self.quarantine = quarantine
        self.digests = digests
        self.statuses = statuses
        #: Number of the checkpoint; a source of a higher one changed since.
        self.epoch = epoch
        self.tallies: list[tuple[Any, ...]] = [(*key, *numbers) for key, numbers in finished.items()]
        self.ranges: list[tuple[str, str, int, int]] = []
        self.absorbed: list[tuple[str, str, int]] = []
        #: Sources of which more is in memory than need be, once the file has it.
        self.long: list[Source] = []
        #: The file has it; or it was given up, and its messages are read again.
        self.is_written = False
        self.is_abandoned = False
        self._waiting = sources

    def __len__(self) -> int:
        """Sources that are still to be collected."""
        return len(self._waiting)

    def collect(self, source: Source) -> None:
        """Take what is new of a source, unless it was taken."""
        if source not in self._waiting:
            return
        self._waiting.discard(source)
        names = (source.gateway_id, source.boot_id)
        if any(source.tally):
            self.tallies.append((self.day, *names, *source.tally))
        self.absorbed += [(*names, first) for first in source.absorbed]
        self.ranges += [(*names, *one) for one in source.changed_ranges()]
        if source.forget_changes() > 1:
            self.long.append(source)

    def collect_some(self, most: int | None = None) -> bool:
        """Take what is new of some sources, or of all; whether more are waiting."""
        for source in list(islice(self._waiting, most)):
            self.collect(source)
        return bool(self._waiting)
