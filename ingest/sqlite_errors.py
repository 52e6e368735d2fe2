"""Which of SQLite's errors can mend: journal and store retry those, and hand the others to a person."""

import sqlite3

#: What time, another process or a free disk can mend; the low byte of SQLite's extended codes.
_MENDABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_INTERRUPT,
    }
)
_PRIMARY_CODE = 0xFF


def can_mend(error: Exception) -> bool:
    """Whether the same call may succeed later; False for an error without a code of SQLite's."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & _PRIMARY_CODE in _MENDABLE
