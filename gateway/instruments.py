"""Reading the instruments when they are due; a fault of one never reaches the others."""

import math
from collections.abc import Sequence

import msgspec
import structlog

from gateway.contract.codec import encode_readings
from gateway.contract.readings import RESULT_STATUSES, Reading, ReadingsMessage, ReadingStatus
from gateway.contract.times import format_timestamp
from gateway.counters import GatewayCounters
from gateway.errors import SensorError
from gateway.sensors.ports import SensorPort

_log = structlog.get_logger()


class Instruments:
    """The instruments of one gateway and when each is due."""

    def __init__(
        self, *, gateway_id: str, sensors: Sequence[SensorPort], now_ms: int, counters: GatewayCounters
    ) -> None:
        self._gateway_id = gateway_id
        self._sensors = sensors
        self._counters = counters
        self._due_ms = [now_ms for _ in sensors]
        #: Instruments whose fault was told; it is told again after they have worked.
        self._failing: set[int] = set()

    def next_due_ms(self) -> int | None:
        """When the next instrument is due; None if there is none."""
        return min(self._due_ms, default=None)

    def shift(self, by_ms: int) -> None:
        """Follow a clock that was put back: nobody waits for an hour that comes again."""
        self._due_ms = [due_ms + by_ms for due_ms in self._due_ms]

    def read_due(self, now_ms: int) -> dict[str, list[Reading]]:
        """Readings by pool of the instruments that are due at `now_ms`."""
        by_pool: dict[str, list[Reading]] = {}
        for index, sensor in enumerate(self._sensors):
            if now_ms < self._due_ms[index]:
                continue
            interval_ms = max(1, int(sensor.interval_s * 1000))
            self._due_ms[index] += interval_ms * ((now_ms - self._due_ms[index]) // interval_ms + 1)
            readings = self._read(index, sensor, now_ms)
            if readings:
                by_pool.setdefault(sensor.pool_id, []).extend(readings)
        return by_pool

    def _read(self, index: int, sensor: SensorPort, now_ms: int) -> list[Reading]:
        try:
            readings = [_sound(reading) for reading in sensor.read(now_ms)]
            if readings:
                # What cannot be written on the wire is found here, where it costs one instrument's readings only.
                encode_readings(ReadingsMessage(1, self._gateway_id, "0", 0, readings))
        except SensorError as error:
            self._tell(index, sensor, str(error))
            return [
                Reading(sensor_id, quantity, format_timestamp(now_ms), None, ReadingStatus.NO_COMMUNICATION)
                for sensor_id, quantity in error.silent
            ]
        except Exception as error:  # noqa: BLE001 - one driver's fault must not stop the other instruments
            self._tell(index, sensor, f"{type(error).__name__}: {error}")
            return []
        if index in self._failing:
            self._failing.discard(index)
            _log.info("sensor works again", gateway_id=self._gateway_id, pool_id=sensor.pool_id)
        return readings

    def _tell(self, index: int, sensor: SensorPort, text: str) -> None:
        self._counters.sensor_errors += 1
        if index not in self._failing:
            self._failing.add(index)
            _log.warning(
                "sensor fails; tried again at its turns",
                gateway_id=self._gateway_id,
                pool_id=sensor.pool_id,
                sensor=type(sensor).__name__,
                error=text,
            )


def _sound(reading: Reading) -> Reading:
    """Return the reading; a result without a finite value becomes a fault, for it would be refused as a result."""
    bad = reading.status in RESULT_STATUSES if reading.value is None else not math.isfinite(reading.value)
    return msgspec.structs.replace(reading, value=None, status=ReadingStatus.FAULT) if bad else reading
