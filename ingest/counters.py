"""What ingest counts while it runs. Plain numbers, each with one writing thread; their `help` is what operators read."""

from dataclasses import dataclass

from gateway.contract.counting import counted


@dataclass(slots=True)
class IngestCounters:
    """Counts since the start of the process; `last_*` and `waiting_since_ms` are instants in ms, 0 for none."""

    received_messages: int = counted("Messages that the broker handed over.")
    journalled_messages: int = counted("Messages that are new in the journal, refused ones too.")
    duplicate_messages: int = counted("Messages that came again with the same bytes.")
    refused_messages: int = counted("Messages in quarantine as a whole.")
    refused_items: int = counted("Readings and logbook entries in quarantine, of messages that were taken.")
    cloned_messages: int = counted(
        "Messages whose seq had come with other bytes: two gateways of one identity."
    )
    acknowledged_messages: int = counted("Messages acknowledged to the broker.")
    receipts: int = counted("Receipts sent to gateways.")
    journal_failures: int = counted("Attempts to write the journal that failed.")
    upkeep_failures: int = counted("Rounds of the journal's upkeep that failed; each is tried again.")
    unexpected_failures: int = counted("Failures that nobody foresaw; each is in the log with its trace.")
    stored_readings: int = counted("Readings that the store took.")
    store_duplicates: int = counted("Readings that the store had from another message.")
    store_conflicts: int = counted("Readings in quarantine because another value of that instant stands.")
    store_rejections: int = counted("Rows that the store refused for good.")
    store_failures: int = counted("Attempts to write to the store that failed; each is tried again.")
    store_batches: int = counted("Batches that the store took.")
    released_items: int = counted("Readings and entries that went from quarantine into the store.")
    registry_reloads: int = counted("Versions of the registry that came into force.")
    registry_refusals: int = counted(
        "Versions of the registry that were refused; the old one stays in force."
    )
    registry_since_ms: int = counted(
        "When the registry in force was taken, since the process began. [ms since 1970]", kind="gauge"
    )
    last_round_at_ms: int = counted("When the loop last came round. [ms since 1970]", kind="gauge")
    last_received_at_ms: int = counted("When the last message came. [ms since 1970]", kind="gauge")
    last_stored_at_ms: int = counted("When the store last took something. [ms since 1970]", kind="gauge")
    waiting_since_ms: int = counted(
        "When the oldest message came that the store has not taken; 0: none waits. [ms since 1970]",
        kind="gauge",
    )
