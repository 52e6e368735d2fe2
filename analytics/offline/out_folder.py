"""The folder of the tables: what a judging writes is seen there only when all of it is whole."""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from analytics.offline.errors import OfflineError
from analytics.offline.tables import SCHEMAS

#: Beside the tables, on the same disk, so that files move out of it at once. What a killed judging left is removed.
UNFINISHED = ".unfinished"
REFUSED, REFUSED_PUBLICATIONS = "refused.csv", "refused_publications.csv"
_REFUSALS = (REFUSED, REFUSED_PUBLICATIONS)
#: Every file that a judging may write: one of these that is left from before belongs to other readings.
_WRITTEN = tuple(f"{name}.{kind}" for name in SCHEMAS for kind in ("csv", "parquet")) + _REFUSALS


class OutFolder:
    """A folder that gets all files of a judging, in place of those of an earlier one, or none.

    Within its context files are written to `path`, a folder of its own that is gone after it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / UNFINISHED

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self.path.exists():
                shutil.rmtree(self.path)
            self.path.mkdir()
        except OSError as error:
            raise OfflineError(f"{self._folder} cannot be written to: {error.strerror or error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def publish(self) -> None:
        """Put the closed files in place of all that an earlier judging may have left.

        The old ones go first: should this be cut short, some are missing, and none are of two judgings.

        Raises
        ------
        OfflineError
            If a file cannot be removed or moved.
        """
        self._move(sorted(path.name for path in self.path.iterdir()), gone=_WRITTEN)

    def publish_refusals(self) -> bool:
        """Put only the refused rows in place; whether tables of an earlier judging stand beside them."""
        self._move([name for name in _REFUSALS if (self.path / name).exists()], gone=_REFUSALS)
        return any((self._folder / name).exists() for name in _WRITTEN if name not in _REFUSALS)

    def _move(self, names: Sequence[str], *, gone: Sequence[str]) -> None:
        try:
            for name in gone:
                with suppress(FileNotFoundError):
                    (self._folder / name).unlink()
            for name in names:
                (self.path / name).rename(self._folder / name)
        except OSError as error:
            raise OfflineError(
                f"the tables cannot be put into {self._folder}: {error.strerror or error}"
            ) from error
