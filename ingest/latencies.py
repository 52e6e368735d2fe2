"""How long something took, as a histogram of seconds, for operators. Any thread may observe and read."""

import threading
from bisect import bisect_left
from typing import NamedTuple

#: From a commit on a fast disk to a store that hangs until its time limit. [s]
BOUNDS_S = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


class Observed(NamedTuple):
    """`up_to`: how many took at most so long, for each of `BOUNDS_S`; `number` and `sum_s` of all. [s]"""

    up_to: tuple[int, ...]
    number: int
    sum_s: float


class Latencies:
    """A histogram that only grows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Note that it took so long once more. [s]"""
        with self._lock:
            self._counts[bisect_left(BOUNDS_S, seconds)] += 1
            self._sum_s += seconds

    def observed(self) -> Observed:
        """What was noted so far."""
        with self._lock:
            counts, sum_s = list(self._counts), self._sum_s
        up_to, total = [], 0
        for count in counts[:-1]:
            total += count
            up_to.append(total)
        return Observed(tuple(up_to), total + counts[-1], sum_s)
