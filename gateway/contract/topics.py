"""The only place where a topic is built or taken apart."""

import re
from dataclasses import dataclass
from enum import StrEnum

from gateway.contract.errors import MessageError

_ID = r"[a-z0-9][a-z0-9-]{0,62}"
_POOL_TOPIC = re.compile(rf"pools/({_ID})/gateways/({_ID})/(readings|logbook)", re.ASCII)
_STATUS_TOPIC = re.compile(rf"gateways/({_ID})/status", re.ASCII)

READINGS_FILTER = "pools/+/gateways/+/readings"
LOGBOOK_FILTER = "pools/+/gateways/+/logbook"
STATUS_FILTER = "gateways/+/status"


class TopicKind(StrEnum):
    """What a topic carries."""

    READINGS = "readings"
    LOGBOOK = "logbook"
    STATUS = "status"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic taken apart; `pool_id` is None for a gateway's status."""

    kind: TopicKind
    gateway_id: str
    pool_id: str | None


def readings_topic(*, pool_id: str, gateway_id: str) -> str:
    """Topic on which a gateway publishes readings of a pool."""
    return f"pools/{pool_id}/gateways/{gateway_id}/readings"


def logbook_topic(*, pool_id: str, gateway_id: str) -> str:
    """Topic on which a gateway publishes logbook entries of a pool."""
    return f"pools/{pool_id}/gateways/{gateway_id}/logbook"


def status_topic(gateway_id: str) -> str:
    """Topic of a gateway's retained status and last will."""
    return f"gateways/{gateway_id}/status"


def stored_topic(gateway_id: str) -> str:
    """Topic of the receipts for a gateway: ingest writes it, only its gateway reads it."""
    return f"gateways/{gateway_id}/stored"


def parse_topic(topic: str) -> Topic:
    """Take a topic apart that ingest received.

    Raises
    ------
    MessageError
        If it is none of the contract's (code ``bad_topic``).
    """
    if match := _POOL_TOPIC.fullmatch(topic):
        return Topic(TopicKind(match[3]), gateway_id=match[2], pool_id=match[1])
    if match := _STATUS_TOPIC.fullmatch(topic):
        return Topic(TopicKind.STATUS, gateway_id=match[1], pool_id=None)
    raise MessageError(
        "bad_topic",
        f"{topic[:200]!r} is no topic of the contract; readings go to pools/{{pool_id}}/gateways/{{gateway_id}}/readings",
    )
