"""A file of publications: which value of which sensor was shown to the public from when on."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analytics.offline.readings_file import COLUMNS, PUBLISHED_AT, BadLine, open_readings
from analytics.offline.refusals import Refusals
from analytics.offline.registered import MANUAL, QUANTITIES, SeriesBook
from analytics.offline.rows import Problem
from gateway.contract.readings import MANUAL_SENSOR
from ingest.store.records import PublicationColumns, SeriesKey

#: What is wrong with the time of a publication, by what would be wrong with the time of a reading.
_OF_PUBLISHED = np.zeros(len(Problem), dtype=np.uint8)
_OF_PUBLISHED[Problem.NO_TIME] = Problem.NOT_PUBLISHED
_OF_PUBLISHED[Problem.NO_ZONE] = Problem.PUBLISHED_NO_ZONE
_OF_PUBLISHED[Problem.BAD_TIME] = Problem.PUBLISHED_BAD_TIME

PUBLICATION_COLUMNS = (*COLUMNS, PUBLISHED_AT)


def read_publications(
    path: Path, *, book: SeriesBook, refusals: Refusals
) -> dict[int, dict[SeriesKey, PublicationColumns]]:
    """Published values by pool and series, each sorted by when they were published.

    All of it is kept: a publication is a change of what the public sees, and there are far fewer than readings. An empty
    value says that the page showed none.

    Raises
    ------
    OfflineError
        If the file cannot be read or lacks a column.
    """
    file = open_readings(path, needed=PUBLICATION_COLUMNS)
    bad_lines: list[BadLine] = []
    parts = []
    n_series, n_quantities = len(book.series), len(QUANTITIES)
    for rows in file.batches(bad_lines):
        known = book.known(rows)
        problem = np.zeros(len(rows), dtype=np.uint8) if known.problem is None else known.problem.copy()
        problem[problem == Problem.NO_VALUE] = 0
        if rows.published is None:
            continue
        published_ms, published_problem = rows.published
        if published_problem is not None:
            problem = np.where(problem > 0, problem, _OF_PUBLISHED[published_problem])
        if problem.any():
            refusals.refuse(rows, problem)
        kept = np.flatnonzero(problem == 0)
        by_hand = known.series[kept] == MANUAL
        key = np.where(
            by_hand,
            n_series + known.pool(kept).astype(np.int64) * n_quantities + known.quantity(kept),
            known.series[kept],
        )
        parts.append(
            (
                key,
                published_ms[kept],
                rows.at_ms[kept],
                rows.value[kept].astype(np.float64),
                np.zeros(len(kept), dtype=np.uint8) if known.status is None else known.status[kept],
            )
        )
    refusals.refuse_lines(bad_lines)
    return _by_pool(parts, book)


_Part = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.uint8]]


def _by_pool(parts: list[_Part], book: SeriesBook) -> dict[int, dict[SeriesKey, PublicationColumns]]:
    found: dict[int, dict[SeriesKey, PublicationColumns]] = {}
    if not parts:
        return found
    key, published_ms, measured_ms, value, status = (
        np.concatenate([part[column] for part in parts]) for column in range(5)
    )
    order = np.lexsort((published_ms, key))
    edges = np.flatnonzero(np.diff(key[order])) + 1
    for rows in np.split(order, edges):
        if not len(rows):
            continue
        of_rows = int(key[rows[0]])
        if of_rows < len(book.series):
            one = book.series[of_rows]
            pool, name, quantity = one.pool, one.sensor.sensor_id, one.quantity
        else:
            pool, quantity = divmod(of_rows - len(book.series), len(QUANTITIES))
            name = MANUAL_SENSOR
        found.setdefault(pool, {})[SeriesKey(name, QUANTITIES[quantity])] = PublicationColumns(
            published_at_ms=published_ms[rows],
            measured_at_ms=measured_ms[rows],
            value=value[rows],
            status=status[rows],
            stored_at_ms=published_ms[rows],
        )
    return found
