"""The one door to pyarrow, an optional part: `pip install poolwatch[offline]`."""

from analytics.offline.errors import OfflineError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv, parquet
except ImportError as error:
    raise OfflineError(
        "judging from files needs pyarrow, which is not installed: pip install 'poolwatch[offline]'"
    ) from error

__all__ = ["csv", "pa", "parquet", "pc"]
