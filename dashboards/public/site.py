"""What the routes need, in one place, so that no module holds it globally."""

import threading
from dataclasses import dataclass, field

from dashboards.public.board import Freshness, PublicBoard
from gateway.contract.times import Clock
from ingest.store.ports import Store


@dataclass(frozen=True, slots=True)
class Site:
    """Board, store and clock of the public service; `stopping` ends its streams."""

    board: PublicBoard
    store: Store
    freshness: Freshness
    clock: Clock
    stopping: threading.Event = field(default_factory=threading.Event)
