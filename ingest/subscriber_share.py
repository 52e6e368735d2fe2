"""Sessions of ingest: that of the only one, and those of several which share the messages. Pure."""

import re
from dataclasses import dataclass

from gateway.contract.topics import LOGBOOK_FILTER, READINGS_FILTER, STATUS_FILTER
from ingest.subscriber_link import Session

#: Fixed, so that the broker keeps the session, and what arrives meanwhile, for the next start.
CLIENT_ID = "poolwatch-ingest"
_FILTERS = (READINGS_FILTER, LOGBOOK_FILTER, STATUS_FILTER)
#: MQTT 5's number for a session that never expires.
_NEVER = 0xFFFF_FFFF
#: A member that is away for longer has been given up or retired. What the broker has handed to its session is out of
#: reach for the others until then.
_MEMBER_EXPIRY_S = 3600
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)

ONLY_INGEST = Session(CLIENT_ID, _FILTERS, _NEVER)


@dataclass(frozen=True, slots=True)
class ShareMember:
    """One of several ingests between which the broker divides the messages.

    Parameters
    ----------
    name : str
        Its own.
    group : str
        The secret name that all share: a broker checks no one who joins a group by its name.

    Raises
    ------
    ValueError
        If the name is no lower-case letters, digits and hyphens.
    """

    name: str
    group: str = "ingest"

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"{self.name!r} cannot name an ingest: use up to 63 lower-case letters, digits and hyphens"
            )

    @property
    def session(self) -> Session:
        """Its own session on the common subscription."""
        filters = tuple(f"$share/{self.group}/{name}" for name in _FILTERS)
        return Session(f"{CLIENT_ID}-{self.name}", filters, _MEMBER_EXPIRY_S)
