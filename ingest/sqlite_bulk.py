"""Many rows in few statements.

The `sqlite3` module gives up the interpreter's lock at every step of a statement. Beside a busy thread each return of it may
take 5 ms, so rows by the thousand must not be steps by the thousand, as `executemany` makes them.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

#: Rows of a statement: powers of two are few shapes, each compiled once and kept by its connection, and few of them make up
#: any number. A shape for each number of rows would fill the connection's memory with compiled statements.
_SIZES = tuple(2**power for power in range(11, -1, -1))
#: SQLite takes at least so many parameters in a statement.
_PARAMETERS = 32_766


def insert_columns(
    connection: sqlite3.Connection, statement: str, columns: Sequence[Sequence[Any]], *, after: str = ""
) -> int:
    """Run ``{statement} VALUES (…), (…) {after}`` on columns of equal length; returns how many rows it changed."""
    return sum(
        connection.execute(sql, values).rowcount for sql, values in _statements(statement, columns, after)
    )


def insert_rows(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]], *, after: str = ""
) -> int:
    """Run ``{statement} VALUES (…), (…) {after}`` on rows of equal length; returns how many rows it changed."""
    return insert_columns(connection, statement, list(zip(*rows, strict=True)), after=after) if rows else 0


def first_values(
    connection: sqlite3.Connection, statement: str, columns: Sequence[Sequence[Any]], *, after: str
) -> list[Any]:
    """Run ``{statement} VALUES (…), (…) {after}``, and return the first value of each answer's first row."""
    return [
        connection.execute(sql, values).fetchone()[0]
        for sql, values in _statements(statement, columns, after)
    ]


def _statements(
    statement: str, columns: Sequence[Sequence[Any]], after: str
) -> Iterator[tuple[str, list[Any]]]:
    width, number = len(columns), len(columns[0])
    begin = 0
    while begin < number:
        most = min(number - begin, _PARAMETERS // width)
        size = next(size for size in _SIZES if size <= most)
        values: list[Any] = [None] * (size * width)
        for place, column in enumerate(columns):
            values[place::width] = column[begin : begin + size]
        yield _sql(statement, width, size, after), values
        begin += size


@lru_cache(maxsize=256)
def _sql(statement: str, width: int, size: int, after: str) -> str:
    row = f"({','.join('?' * width)})"
    return f"{statement} VALUES {','.join([row] * size)} {after}"
