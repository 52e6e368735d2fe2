"""A data folder whose ingests took messages of a gateway in, and stored them."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from gateway.contract.registry_file import parse_registry
from gateway.contract.times import format_timestamp
from ingest.counters import IngestCounters
from ingest.incoming import Incoming
from ingest.intake import assess_many
from ingest.journal.journal import Journal
from ingest.store.sqlite import SqliteStore
from ingest.store_writer import StoreWriter
from poolwatch.reconcile import Account, take_account

T0 = 1_782_892_800_000  # 2026-07-01T08:00:00Z
TOPIC = "pools/north/gateways/gw-a/readings"
REGISTRY = """
schema = 1
[venues.hall]
name_zh = "馆"
name_en = "Hall"
district = "Tianning"
position = [31.78, 119.95]
[pools.north]
venue = "hall"
name_zh = "北池"
name_en = "North"
kind = "indoor"
opening_hours = "24/7"
[[pools.north.sensors]]
id = "fc-1"
quantity = "free_chlorine_mg_l"
place = "return"
interval_s = 60
[gateways.gw-a]
pools = ["north"]
"""


class Bench:
    """A data folder of one ingest, or of several."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "pools.toml").write_text(REGISTRY, encoding="utf-8")
        self.registry = parse_registry(REGISTRY)
        self.store = SqliteStore(root / "store.sqlite")

    def take_in(
        self, seqs: Sequence[int], *, boot: str = "b1", member: str | None = None, value: float = 0.5
    ) -> None:
        payloads = [
            json.dumps(
                {
                    "schema": 1,
                    "gateway_id": "gw-a",
                    "boot_id": boot,
                    "seq": seq,
                    "readings": [
                        {
                            "sensor_id": "fc-1",
                            "quantity": "free_chlorine_mg_l",
                            "measured_at": format_timestamp(T0 + seq * 1000 + 100_000 * (boot != "b1")),
                            "value": value,
                        }
                    ],
                }
            ).encode()
            for seq in seqs
        ]
        self._journal([Incoming(TOPIC, payload, T0 + 1) for payload in payloads], member)

    def status(
        self,
        boot: str,
        next_seq: int,
        *,
        outbox: Sequence[object] = (),
        dropped: int = 0,
        at_ms: int = T0 + 2,
    ) -> None:
        body = {
            "state": "online",
            "boot_id": boot,
            "since": format_timestamp(T0),
            "next_seq": next_seq,
            "outbox": outbox,
            "dropped": [{"from": format_timestamp(T0), "to": format_timestamp(T0), "readings": dropped}],
        }
        self._journal([Incoming("gateways/gw-a/status", json.dumps(body).encode(), at_ms)], None)

    def _journal(self, messages: list[Incoming], member: str | None) -> None:
        folder = self.root / ("ingest" if member is None else f"ingest-{member}") / "journal"
        with closing(Journal(folder)) as journal:
            assessments, _ = assess_many(messages, self.registry)
            journal.append_many(messages, assessments)
            writer = StoreWriter(journal, self.store, clock=lambda: T0 + 3, counters=IngestCounters())
            while writer.write_once():
                pass

    def account(self, *, day: str | None = None) -> Account:
        return take_account(sorted(self.root.glob("ingest*/journal")), self.store, day=day)
