"""What ingest tells a gateway: these messages are in the journal, you may forget them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.contract.readings import BootId, Seq

#: The shortest time between two receipts for one gateway. [s]
INTERVAL_S = 1.0
#: First and last seq of a run, both included.
SeqRange = tuple[Seq, Seq]


class Receipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Payload of `gateways/{gateway_id}/stored`. It speaks only of the seqs that it names."""

    boot_id: BootId
    stored: Annotated[list[SeqRange], Meta(min_length=1, max_length=1000)]
