"""What ingest counts while it runs, for metrics. Plain numbers; each has one writing thread."""

from dataclasses import dataclass


@dataclass(slots=True)
class IngestCounters:
    """Counts since the start of the process; `last_*` are instants in ms, 0 before the first."""

    received_messages: int = 0
    journalled_messages: int = 0
    duplicate_messages: int = 0
    refused_messages: int = 0
    refused_items: int = 0
    cloned_messages: int = 0
    acknowledged_messages: int = 0
    receipts: int = 0
    journal_failures: int = 0
    unexpected_failures: int = 0
    stored_readings: int = 0
    store_duplicates: int = 0
    store_conflicts: int = 0
    store_rejections: int = 0
    store_failures: int = 0
    registry_reloads: int = 0
    registry_refusals: int = 0
    last_received_at_ms: int = 0
    last_stored_at_ms: int = 0
