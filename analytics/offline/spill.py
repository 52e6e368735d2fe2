"""Rows put aside by pool: in memory while they are few, else in temporary files that are gone when they are closed."""

from collections.abc import Sequence
from tempfile import SpooledTemporaryFile, gettempdir
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from analytics.offline.errors import OfflineError

#: Parts of the pools; each is read back as a whole.
MOST_PARTS = 64
#: All parts together keep about a quarter of a gigabyte in memory before they go to disk.
_IN_MEMORY_BYTES = 4 * 2**20


#: A reading: its series, its time [ms], the number of its row in the file, its value.
ROW = np.dtype([("series", "<i4"), ("at_ms", "<i8"), ("number", "<i8"), ("value", "<f4")])
#: A publication of a result: whose it is, when it was published and when measured. [ms]
PUBLICATION = np.dtype([("series", "<i4"), ("at_ms", "<i8"), ("measured_ms", "<i8")])

Records = NDArray[np.void]


class Spill:
    """Rows by part; part i has the pools ``bounds[i]`` to ``bounds[i + 1]``."""

    def __init__(self, *, bounds: Sequence[int], pool_of: NDArray[np.intp], row: np.dtype[np.void]) -> None:
        self.bounds = tuple(bounds)
        self._row = row
        part_of_pool = np.repeat(np.arange(len(bounds) - 1, dtype=np.uint8), np.diff(bounds))
        self._part_of = part_of_pool[pool_of]
        self._files = [
            SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, prefix="poolwatch-")  # noqa: SIM115 - closed by __exit__
            for _ in range(len(bounds) - 1)
        ]

    @property
    def wants_numbers(self) -> bool:
        """The numbers of the rows are put aside with them."""
        return True

    @property
    def n_parts(self) -> int:
        """Number of parts."""
        return len(self._files)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def add(
        self,
        *,
        series: NDArray[np.integer],
        at_ms: NDArray[np.int64],
        number: NDArray[np.int64] | None,
        value: NDArray[np.floating],
    ) -> None:
        """Put rows aside, shape (n,) each; in each part they keep their order."""
        records = np.empty(len(series), dtype=self._row)
        records["series"], records["at_ms"] = series, at_ms
        records["number"] = -1 if number is None else number
        records["value"] = value
        self.put(records)

    def put(self, records: Records) -> None:
        """Put records aside, of the spill's own kind; in each part they keep their order.

        Raises
        ------
        OfflineError
            If the disk takes no more.
        """
        part = self._part_of[records["series"]]
        if len(part) and (part[0] != part[-1] or part.min() != part.max()):
            # Small numbers are sorted by radix, in their order.
            order = np.argsort(part, kind="stable")
            records, part = records[order], part[order]
        edges = np.searchsorted(part, np.arange(len(self._files) + 1))
        try:
            for index, file in enumerate(self._files):
                low, high = int(edges[index]), int(edges[index + 1])
                if high > low:
                    file.write(records[low:high].tobytes())
        except OSError as error:
            raise OfflineError(
                f"rows cannot be put aside in {gettempdir()}: {error.strerror or error}; "
                "name a folder with more room in the environment variable TMPDIR"
            ) from error

    def rows(self, part: int) -> Records:
        """All rows of a part in the order in which they came."""
        file = self._files[part]
        file.seek(0)
        found: Records = np.frombuffer(file.read(), dtype=self._row)
        return found


def bounds_of(first: NDArray[np.intp]) -> list[int]:
    """Cut pools into parts of about as many series each; `first` as in `SeriesBook`."""
    n_pools = len(first) - 1
    n_parts = max(min(n_pools, MOST_PARTS), 1)
    wanted = np.linspace(0, first[-1], n_parts + 1)
    edges = np.searchsorted(first, wanted).astype(np.intp)
    edges[0], edges[-1] = 0, n_pools
    return sorted(set(np.minimum(edges, n_pools).tolist()) | {0, n_pools}) if n_pools else [0, 0]
