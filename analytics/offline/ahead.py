"""Reading ahead: decoding the next batches in a thread while this one is being used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class _End(Generic[_Item]):
    """The end of the items, and why if it is an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def read_ahead(items: Iterable[_Item], *, depth: int = 2) -> Iterator[_Item]:
    """The same items in their order, at most `depth` of them made before they are asked for.

    An error of `items` is raised here, after the items before it.
    """
    waiting: queue.Queue[_Item | _End[_Item]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_read, args=(items, waiting, stopped), name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item = waiting.get()
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        stopped.set()
        thread.join()


def _read(
    items: Iterable[_Item], waiting: "queue.Queue[_Item | _End[_Item]]", stopped: threading.Event
) -> None:
    try:
        for item in items:
            if not _hand_over(item, waiting, stopped):
                return
    except BaseException as error:  # noqa: BLE001 - handed over, and raised where the items are used
        _hand_over(_End(error), waiting, stopped)
    else:
        _hand_over(_End(), waiting, stopped)


def _hand_over(
    item: _Item | _End[_Item], waiting: "queue.Queue[_Item | _End[_Item]]", stopped: threading.Event
) -> bool:
    """Wait until there is room; False if nobody wants more."""
    while not stopped.is_set():
        try:
            waiting.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
