"""Where in a TOML text a key stands. `tomllib` reads values without their lines; a person needs the line."""

import re
import tomllib

Place = tuple[str | int, ...]

# Tokens of a text that `tomllib` has accepted: nothing here needs to find a mistake.
_TOKEN = re.compile(
    r"""
    (?P<skip>[ \t\r]+|\#[^\n]*)
    |(?P<newline>\n)
    |(?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}(?!\")|'{3}.*?'{3,5}(?!')|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    |(?P<mark>[\[\]{}=,])
    |(?P<bare>[^\s\[\]{}=,\#"']+)
    """,
    re.VERBOSE | re.DOTALL,
)


class LineIndex:
    """Lines of tables, keys and entries of lists, of a text that `tomllib` accepts."""

    def __init__(self, text: str) -> None:
        self._lines: dict[Place, int] = {}
        self._newest: dict[Place, int] = {}
        self._tokens: list[tuple[str, str, int]] = []
        line = 1
        for match in _TOKEN.finditer(text):
            if match.lastgroup != "skip":
                self._tokens.append((match.lastgroup or "", match[0], line))
            line += match[0].count("\n")
        self._at = 0
        self._read_document()

    def find(self, place: Place) -> int | None:
        """Line, from 1, of a place, or of the nearest thing around it; None for the file itself."""
        for length in range(len(place), 0, -1):
            if place[:length] in self._lines:
                return self._lines[place[:length]]
        return None

    def _note(self, place: Place, line: int) -> None:
        for length in range(1, len(place) + 1):
            self._lines.setdefault(place[:length], line)

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _read_document(self) -> None:
        table: Place = ()
        while self._at < len(self._tokens):
            kind, mark, line = self._tokens[self._at]
            if kind == "newline":
                self._at += 1
            elif mark == "[":
                table = self._read_header(line)
            else:
                self._read_pair(table)

    def _read_header(self, line: int) -> Place:
        self._at += 1
        of_list = self._peek() == "["
        self._at += of_list
        place: Place = ()
        parts = self._read_key()
        for index, part in enumerate(parts):
            place = (*place, part)
            # Below a list of tables, a header means the newest of them.
            if place in self._newest and index < len(parts) - 1:
                place = (*place, self._newest[place])
        self._at += 1 + of_list
        if of_list:
            self._newest[place] = self._newest.get(place, -1) + 1
            place = (*place, self._newest[place])
        self._note(place, line)
        return place

    def _read_key(self) -> list[str]:
        """Parts of a dotted key; stands at the `=` or `]` after it."""
        parts: list[str] = []
        while self._peek() not in ("=", "]", ""):
            kind, mark, _ = self._tokens[self._at]
            if kind == "text":
                parts.append(tomllib.loads(f"key = {mark}")["key"])
            else:
                parts += [part for part in mark.split(".") if part]
            self._at += 1
        return parts

    def _read_pair(self, table: Place) -> None:
        line = self._tokens[self._at][2]
        place = (*table, *self._read_key())
        self._at += 1
        self._note(place, line)
        self._read_value(place)

    def _read_value(self, place: Place) -> None:
        opening = self._peek()
        if opening == "[":
            self._read_list(place)
        elif opening == "{":
            self._read_inline_table(place)
        else:
            # A date and its time may stand apart.
            while self._at < len(self._tokens) and self._tokens[self._at][0] in ("text", "bare"):
                self._at += 1

    def _read_list(self, place: Place) -> None:
        self._at += 1
        index = 0
        while self._peek() not in ("]", ""):
            kind, mark, line = self._tokens[self._at]
            if kind == "newline" or mark == ",":
                self._at += 1
                continue
            self._note((*place, index), line)
            self._read_value((*place, index))
            index += 1
        self._at += 1

    def _read_inline_table(self, place: Place) -> None:
        self._at += 1
        while self._peek() not in ("}", ""):
            kind, mark, _ = self._tokens[self._at]
            if kind == "newline" or mark == ",":
                self._at += 1
            else:
                self._read_pair(place)
        self._at += 1
