"""Which pools an analytics service judges when several share a city. Pure."""

import re
import zlib
from dataclasses import dataclass

_FORM = re.compile(r"([1-9][0-9]{0,3})/([1-9][0-9]{0,3})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shard:
    """The `number`-th of `count` parts, counted from 1. Every pool belongs to exactly one part of a count."""

    number: int = 1
    count: int = 1

    def owns(self, pool_id: str) -> bool:
        """Whether this part judges a pool: by CRC-32 of its id, the same on every machine."""
        return zlib.crc32(pool_id.encode()) % self.count == self.number - 1

    @property
    def name(self) -> str:
        """Name under which the part's progress is kept; empty for the only part."""
        return "" if self.count == 1 else f"{self.number}-of-{self.count}"


def parse_shard(text: str) -> Shard:
    """Shard of ``"2/3"``.

    Raises
    ------
    ValueError
        If the text has another form, or the number is above the count.
    """
    found = _FORM.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"{text!r} is no shard: write NUMBER/COUNT, as 1/3, 2/3 and 3/3 for three services")
    return Shard(int(found[1]), int(found[2]))
