"""When quarantine grows so much that somebody should look. Pure."""

from collections import deque

#: Refusals within an hour that are more than a typing mistake. Ours.
DEFAULT_LIMIT = 20
_HOUR_MS = 3_600_000
_MINUTE_MS = 60_000


class QuarantineAlarm:
    """Counts refusals of the last hour, minute by minute; raised at `limit`, lowered when the hour has none."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._minutes: deque[tuple[int, int]] = deque()
        self.last_hour = 0
        self.is_raised = False

    def note(self, refusals: int, now_ms: int) -> bool:
        """Count refusals, 0 or more; whether the alarm goes up by it, which is told once."""
        while self._minutes and self._minutes[0][0] <= now_ms - _HOUR_MS:
            self.last_hour -= self._minutes.popleft()[1]
        if refusals:
            minute_ms = now_ms - now_ms % _MINUTE_MS
            if self._minutes and self._minutes[-1][0] >= minute_ms:
                last_ms, count = self._minutes.pop()
                self._minutes.append((last_ms, count + refusals))
            else:
                self._minutes.append((minute_ms, refusals))
            self.last_hour += refusals
        if self.is_raised:
            self.is_raised = self.last_hour > 0
            return False
        self.is_raised = self.last_hour >= self._limit
        return self.is_raised
