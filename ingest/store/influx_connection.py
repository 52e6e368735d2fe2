"""The one way to InfluxDB: bytes in, bytes out, and its errors as the store's. No retry here: the caller's never ends."""

from http import HTTPStatus
from typing import Any

import urllib3
from influxdb_client import Dialect, InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from ingest.store.influx_address import InfluxAddress
from ingest.store.influx_questions import Question
from ingest.store.ports import StoreError, StoreRejectedError, StoreUnavailableError

#: A server on the same network answers a connection at once.
_CONNECT_MS = 3_000
#: The server gives up a write after 10 s itself (`storage-write-timeout`): whoever waits less long writes twice.
ANSWER_MS = 30_000
_PLAIN = Dialect(annotations=[], header=True, date_time_format="RFC3339")
_REMEDIES = {
    HTTPStatus.UNAUTHORIZED: "the token is unknown there: make new ones with `poolwatch influx init --rotate`",
    HTTPStatus.FORBIDDEN: "the token may not do this: use the file that `poolwatch influx init` wrote for this service",
    HTTPStatus.NOT_FOUND: "no such organisation or bucket: `poolwatch influx init` makes them",
}
_REFUSALS = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY)


class InfluxConnection:
    """Writes and questions of one token; methods may be called from any thread."""

    def __init__(self, address: InfluxAddress, *, answer_ms: int = ANSWER_MS) -> None:
        self._address = address
        # `InfluxDBClient` retries nothing and follows nothing unless told to; a proxy of the environment is none of ours.
        self._client = InfluxDBClient(
            address.url, token=address.token, org=address.org, timeout=(_CONNECT_MS, answer_ms)
        )
        self._write_api = self._client.write_api(write_options=SYNCHRONOUS)
        self._query_api = self._client.query_api()

    def write(self, bucket: str, lines: bytes, *, precision: str) -> None:
        """Write points; all are stored when it returns.

        Raises
        ------
        StoreUnavailableError
            Away, overloaded, or not open to this token. Some points may be stored, all of them even.
        StoreRejectedError
            At least one point is not taken as it is; others may be stored.
        """
        try:
            self._write_api.write(bucket, self._address.org, lines, write_precision=precision)
        except ApiException as error:
            raise self._translated(error, f"writing to bucket {bucket}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._away(error) from error

    def ask(self, question: Question) -> bytes:
        """Answer to a question, as CSV.

        Raises
        ------
        StoreUnavailableError
            Away, overloaded, not open to this token, or the answer broke off.
        StoreError
            The question is not understood.
        """
        try:
            answer = self._query_api.query_raw(question.flux, dialect=_PLAIN, params=question.bound)
            content: bytes = answer.read()
        except ApiException as error:
            raise self._translated(error, f"asking for {question.name}", rejects=StoreError) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._away(error) from error
        return content

    def close(self) -> None:
        """Give back the connections."""
        self._write_api.close()
        self._client.close()

    def _away(self, error: Exception) -> StoreError:
        return StoreUnavailableError(
            f"InfluxDB at {self._address.url} cannot be reached: {type(error).__name__}: {error}. Is it running?"
        )

    def _translated(
        self, error: ApiException, doing: str, *, rejects: type[StoreError] = StoreRejectedError
    ) -> StoreError:
        said = _said(error)
        place = f"InfluxDB at {self._address.url}, {doing}"
        if error.status in _REFUSALS:
            return rejects(f"{place}: refused with {error.status}: {said}")
        remedy = _REMEDIES.get(error.status)
        if remedy is not None:
            return StoreUnavailableError(f"{place}: {error.status}: {remedy} ({said})")
        return StoreUnavailableError(
            f"{place}: {error.status}: {said}", retry_after_s=_retry_after_s(error.headers)
        )


def _said(error: ApiException) -> str:
    body: Any = error.body if error.body is not None else error.reason
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
    return text[:500]


def _retry_after_s(headers: Any) -> float | None:
    """Seconds of Retry-After; its other form, a date, would need a clock and is left to the caller's own waiting."""
    text = headers.get("Retry-After") if headers else None
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
