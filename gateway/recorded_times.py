"""Local times of a recording → instants, where the clock is put forward and back too."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Moment(NamedTuple):
    """An instant, or None, and what was wrong or uncertain about it."""

    at_ms: int | None
    problem: str | None = None


@dataclass(slots=True)
class RecordedTimes:
    """Reads the times of one recording in file order: the order tells the two passes of a repeated hour apart."""

    time_format: str
    time_zone: str
    _last_ms: int | None = None

    def read(self, text: str | None) -> Moment:
        """Instant of a cell.

        A time that does not exist, as the clock was put forward, is refused. One that is there twice is the first, or
        the second where the row before leaves only that; either way it is reported.
        """
        moment = self._read((text or "").strip())
        if moment.at_ms is not None:
            self._last_ms = moment.at_ms
        return moment

    def _read(self, text: str) -> Moment:
        try:
            local = datetime.strptime(text, self.time_format)  # noqa: DTZ007 - the map has its zone
        except ValueError:
            return Moment(None, f"{text!r} is no time of the form {self.time_format!r}")
        if local.tzinfo is not None:
            return Moment(_milliseconds(local))
        zone = ZoneInfo(self.time_zone)
        first = local.replace(tzinfo=zone)
        if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
            return Moment(None, f"{text!r} does not exist in {self.time_zone}: the clock was put forward")
        second = first.replace(fold=1)
        if second.utcoffset() == first.utcoffset():
            return Moment(_milliseconds(first))
        taken, word = first, "first"
        if self._last_ms is not None and _milliseconds(first) <= self._last_ms < _milliseconds(second):
            taken, word = second, "second"
        return Moment(
            _milliseconds(taken),
            f"{text!r} is there twice in {self.time_zone}, as the clock was put back; the {word} is taken",
        )


def _milliseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MILLISECOND
