"""Where in a TOML text a key stands. `tomllib` reads values without their lines; a person needs the line."""

import re

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")

Place = tuple[str | int, ...]


class LineIndex:
    """Lines of tables and keys of a text that `tomllib` accepts. Keys inside inline tables have the line of their owner."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        counts: dict[Place, int] = {}
        table: Place = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _HEADER.match(line):
                table = self._resolve(_parts(header[2]), counts)
                if header[1] == "[[":
                    index = counts.get(table, -1) + 1
                    counts[table] = index
                    table = (*table, index)
                self._lines.setdefault(table, number)
                for length in range(1, len(table)):
                    self._lines.setdefault(table[:length], number)
            elif key := _KEY.match(line):
                self._lines.setdefault((*table, *_parts(key[1])), number)

    @staticmethod
    def _resolve(parts: list[str], counts: dict[Place, int]) -> Place:
        """A header's place: below an array of tables it means the newest one."""
        place: Place = ()
        for index, part in enumerate(parts):
            place = (*place, part)
            if place in counts and index < len(parts) - 1:
                place = (*place, counts[place])
        return place

    def find(self, place: Place) -> int | None:
        """Line, from 1, of a place, or of the nearest thing around it; None for the file itself."""
        for length in range(len(place), 0, -1):
            if place[:length] in self._lines:
                return self._lines[place[:length]]
        return None


def _parts(text: str) -> list[str]:
    return [part.strip("\"'") for part in _PART.findall(text)]
