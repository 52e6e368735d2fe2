"""Rows of journalled messages kept in memory until the store writer comes: bounded, and never the only copy. Pure."""

import threading
from collections import deque
from typing import NamedTuple

from ingest.intake import Rows

#: A row with a body takes about as much memory as this many readings.
_BODY_WEIGHT = 10


class Offer(NamedTuple):
    """Rows of the messages `first_id` to `last_id` of the journal."""

    first_id: int
    last_id: int
    rows: Rows

    @property
    def weight(self) -> int:
        """Memory that it takes, in readings; never 0, for messages without a row take some too."""
        bodies = len(self.rows.logbook) + len(self.rows.statuses)
        return 1 + len(self.rows.readings) + _BODY_WEIGHT * bodies


class Offers:
    """Offers in the journal's order; one that has no room is forgotten, for the journal has its messages.

    Any thread may put, one thread takes.
    """

    def __init__(self, most_readings: int) -> None:
        self._most_readings = most_readings
        self._lock = threading.Lock()
        self._has_less = threading.Condition(self._lock)
        self._offers: deque[Offer] = deque()
        self._weight = 0

    @property
    def weight(self) -> int:
        """Memory that is taken, in readings."""
        return self._weight

    def wait_for_room(self, within_s: float) -> None:
        """Wait until half of the memory is free; as long as `within_s` at most. [s]"""
        with self._has_less:
            self._has_less.wait_for(lambda: self._weight <= self._most_readings // 2, within_s)

    def put(self, offer: Offer) -> bool:
        """Keep an offer; False if it was forgotten."""
        weight = offer.weight
        with self._lock:
            if self._weight + weight > self._most_readings:
                return False
            self._offers.append(offer)
            self._weight += weight
        return True

    def next_id(self, cursor: int) -> int | None:
        """First id of the next offer beyond a cursor; None if there is none. What lies before it is let go."""
        with self._lock:
            while self._offers and self._offers[0].first_id <= cursor:
                self._weight -= self._offers.popleft().weight
                self._has_less.notify()
            return self._offers[0].first_id if self._offers else None

    def following(self, cursor: int, *, most_readings: int) -> list[Offer]:
        """Offers that follow a cursor and one another without a hole, up to a number of readings, but at least one.

        They stay until `next_id` is asked with a cursor beyond them.
        """
        found: list[Offer] = []
        readings = 0
        with self._lock:
            for offer in self._offers:
                readings += len(offer.rows.readings)
                if offer.first_id != cursor + 1 or (found and readings > most_readings):
                    break
                found.append(offer)
                cursor = offer.last_id
        return found
