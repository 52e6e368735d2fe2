"""What operators watch of a journal's folder: its days, its size, what waits in it."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ingest.journal.day_file import PACKED_SUFFIX
from ingest.journal.days import list_days

_DAY_MS = 86_400_000


class FolderFigures(NamedTuple):
    """Files of a journal: days, how many of them are compressed, bytes of all files, where the oldest day begins."""

    days: int
    packed_days: int
    taken_bytes: int
    oldest_day_ms: int


def folder_figures(folder: Path) -> FolderFigures:
    """Look at the files only; one that goes meanwhile is not counted. No day: `oldest_day_ms` is 0."""
    days = list_days(folder)
    taken_bytes = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            taken_bytes += path.stat().st_size
    return FolderFigures(
        days=len(days),
        packed_days=sum(path.name.endswith(PACKED_SUFFIX) for path in days.values()),
        taken_bytes=taken_bytes,
        oldest_day_ms=min(days, default=0) * _DAY_MS,
    )
