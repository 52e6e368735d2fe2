"""InfluxDB's answers, CSV, as columns and records. An error that comes after status 200 is found here."""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from ingest.store.influx_lines import NS_PER_MS, unpack_text
from ingest.store.ports import StoreUnavailableError

#: How a failure in the middle of an answer looks: a last table of its own.
_ERROR = re.compile(rb"(?:^|\n),?error,reference\r?\n,?(?P<text>.*)", re.DOTALL)
_TYPES = {
    "float": pa.float64(),
    "int": pa.int64(),
    "text": pa.string(),
    "name": pa.dictionary(pa.int32(), pa.string()),
}
_INSTANT = pa.timestamp("ns", tz="UTC")


def answer_columns(content: bytes, **kinds: str) -> list[Any]:
    """Columns of an answer of one table, in the order of the keywords.

    Parameters
    ----------
    content : bytes
        The CSV, without annotations.
    kinds : str
        By column: ``"time"`` becomes an int64 array of nanoseconds since the epoch, ``"float"`` and ``"int"`` arrays,
        ``"name"`` a pair of codes (int32 array) and distinct names, ``"text"`` a list of str.

    Raises
    ------
    StoreUnavailableError
        If the answer broke off, or InfluxDB failed in the middle of it.
    """
    if not content.endswith(b"\r\n"):
        raise _broken(content, "the answer broke off")
    if not content.strip():
        return [_empty(kind) for kind in kinds.values()]
    types = {name: _INSTANT if kind == "time" else _TYPES[kind] for name, kind in kinds.items()}
    try:
        table = csv.read_csv(
            pa.BufferReader(content),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=list(kinds), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
        raise _broken(content, str(error)) from error
    return [_column(table.column(name), kind) for name, kind in kinds.items()]


def answer_records(content: bytes, *tags: str) -> dict[tuple[Any, ...], dict[str, str]]:
    """Points of an answer asked as text: fields by (tags…, nanoseconds since the epoch)."""
    kinds = dict.fromkeys(tags, "text")
    *named, instants, fields, values = answer_columns(
        content, **kinds, _time="time", _field="text", _value="text"
    )
    points: defaultdict[tuple[Any, ...], dict[str, str]] = defaultdict(dict)
    for *key, field, value in zip(*named, instants.tolist(), fields, values, strict=True):
        points[tuple(key)][field] = unpack_text(value)
    return points


def to_ms(instants_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Whole milliseconds, towards the past."""
    return np.floor_divide(instants_ns, NS_PER_MS)


def _empty(kind: str) -> Any:
    if kind == "text":
        return []
    if kind == "name":
        return np.zeros(0, dtype=np.int32), []
    return np.zeros(0, dtype=np.float64 if kind == "float" else np.int64)


def _column(column: Any, kind: str) -> Any:
    if kind == "text":
        return column.to_pylist()
    if kind == "name":
        joined = column.unify_dictionaries().combine_chunks()
        if isinstance(joined, pa.ChunkedArray):
            joined = joined.chunk(0)
        return joined.indices.to_numpy(zero_copy_only=False), joined.dictionary.to_pylist()
    values: Sequence[Any] | NDArray[Any] = column.to_numpy()
    return np.asarray(values).astype(np.int64) if kind == "time" else values


def _broken(content: bytes, why: str) -> StoreUnavailableError:
    found = _ERROR.search(content)
    if found is not None:
        why = "the question failed on the way: " + found["text"].decode("utf-8", "replace").strip()
    return StoreUnavailableError(f"InfluxDB: {why[:500]}")
