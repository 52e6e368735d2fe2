"""How far a store's clock is from this machine's: asked of the server itself, which says the time with every answer.

Several ingests that write into one store need not know each other: each that agrees with the store agrees with the others.
"""

import urllib.error
import urllib.request
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

from gateway.contract.times import Clock
from ingest.store.influx_address import read_address
from ingest.store.ports import StoreUnavailableError

_ANSWER_WITHIN_S = 5.0
#: HTTP tells whole seconds, rounded down.
_SECOND_MS = 1000
#: A proxy of the environment would answer with its own clock.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Ahead(NamedTuple):
    """The store's clock minus ours lies between these, negative where the store is behind. [ms]"""

    least_ms: int
    most_ms: int


def clock_address(store_url: str) -> str | None:
    """Where to ask a store for its time; None where it has this machine's clock, as a file has.

    Raises
    ------
    StoreError
        If the file that names the store cannot be used.
    """
    scheme, _, place = store_url.partition(":")
    return f"{read_address(Path(place)).url.rstrip('/')}/ping" if scheme == "influx" else None


def ask_clock(address: str, clock: Clock) -> Ahead:
    """Ask a server how far its clock is ahead of ours.

    Raises
    ------
    StoreUnavailableError
        If it does not answer, or without its time.
    """
    asked_ms = clock()
    try:
        with _DIRECT.open(address, timeout=_ANSWER_WITHIN_S) as answer:
            text = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        with error:
            text = error.headers.get("Date")  # whatever else it says, it says when
    except (OSError, ValueError) as error:
        raise StoreUnavailableError(f"{address} does not tell its time: {error}. Is it running?") from error
    answered_ms = clock()
    try:
        said_ms = int(parsedate_to_datetime(text or "").timestamp()) * _SECOND_MS
    except ValueError as error:
        raise StoreUnavailableError(f"{address} answers without its time: {text!r}") from error
    return Ahead(said_ms - answered_ms, said_ms + _SECOND_MS - 1 - asked_ms)
