"""The load: a thousand gateways with one pool each, whose three probes speak at one instant; and the files for them."""

import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.contract.codec import encode_readings
from gateway.contract.credentials import Credential, Credentials, render_credentials
from gateway.contract.quantities import Quantity
from gateway.contract.readings import Reading, ReadingsMessage
from gateway.contract.topics import readings_topic
from ingest.broker import BrokerFiles, write_broker_files
from ingest.broker_config import MAX_INFLIGHT, MAX_QUEUED_BYTES, MEMORY_LIMIT_BYTES
from poolwatch.folder import DataFolder

#: Sensor, quantity, and the span of its values.
PROBES = (
    ("fc-1", Quantity.FREE_CHLORINE_MG_L, 0.3, 1.0),
    ("ph-1", Quantity.PH, 7.0, 7.8),
    ("t-1", Quantity.WATER_TEMP_C, 26.0, 29.0),
)
#: User names of the load's own connections: they may write for every gateway and read every receipt.
LOAD_USERS = ("load-1", "load-2")
TELEGRAF_USER = "telegraf"
_INTERVAL_MS = 10_000
_HOUR_MS = 3_600_000
_TRIPLES = 4096
_LOAD_QUEUED_BYTES = 8 * 1024**3


@dataclass(frozen=True, slots=True)
class Load:
    """`messages` messages of `instants` instants each, in turn from each gateway, every 10 s of measured time."""

    messages: int
    instants: int
    gateways: int = 1000
    seed: int = 1
    boot_id: str = "bench-1"
    #: Instant of the first reading [ms].
    start_ms: int = 0

    @property
    def values_per_message(self) -> int:
        """Readings of one message."""
        return self.instants * len(PROBES)

    @property
    def values(self) -> int:
        """Readings of all messages."""
        return self.messages * self.values_per_message

    def ending_before(self, now_ms: int) -> "Load":
        """The same load, its last reading an hour ago or more: no reading may come from the future."""
        rounds = -(-self.messages // self.gateways) * self.instants
        start_ms = (now_ms - rounds * _INTERVAL_MS) // _HOUR_MS * _HOUR_MS - _HOUR_MS
        return Load(self.messages, self.instants, self.gateways, self.seed, self.boot_id, start_ms)

    def packed(self) -> Iterator[tuple[bytes, bytes]]:
        """Topic and payload of each message, in the order of sending."""
        topics = [topic_of(gateway) for gateway in range(self.gateways)]
        texts = MessageTexts(self.seed, self.boot_id)
        for number in range(self.messages):
            seq, gateway = divmod(number, self.gateways)
            first_ms = self.start_ms + seq * self.instants * _INTERVAL_MS + gateway * 10 % _INTERVAL_MS
            instants_ms = range(first_ms, first_ms + self.instants * _INTERVAL_MS, _INTERVAL_MS)
            yield topics[gateway], texts.payload(gateway, seq, instants_ms)


class MessageTexts:
    """Payloads, put together from ready pieces; byte for byte what the gateway's encoder writes."""

    def __init__(self, seed: int, boot_id: str) -> None:
        rng = random.Random(seed)
        self._boot_id = boot_id
        self._values = [
            tuple(round(rng.uniform(low, high), 2) for *_, low, high in PROBES) for _ in range(_TRIPLES)
        ]
        self._seconds: dict[int, str] = {}

    def payload(self, gateway: int, seq: int, instants_ms: range) -> bytes:
        """Payload of one message with three readings at each instant."""
        parts = []
        for at_ms in instants_ms:
            at = self._timestamp(at_ms)
            chlorine, ph, temp = self._values[(gateway * 7919 + at_ms // 10) % _TRIPLES]
            parts.append(
                f'{{"sensor_id":"fc-1","quantity":"free_chlorine_mg_l","measured_at":"{at}","value":{chlorine}}},'
                f'{{"sensor_id":"ph-1","quantity":"ph","measured_at":"{at}","value":{ph}}},'
                f'{{"sensor_id":"t-1","quantity":"water_temp_c","measured_at":"{at}","value":{temp}}}'
            )
        return (
            f'{{"schema":1,"gateway_id":"{gateway_id(gateway)}","boot_id":"{self._boot_id}","seq":{seq},'
            f'"readings":[{",".join(parts)}]}}'
        ).encode()

    def check(self) -> None:
        """Compare with the gateway's own encoder.

        Raises
        ------
        AssertionError
            If the contract's encoder writes something else.
        """
        at_ms = 1_800_000_000_120
        values = self._values[(7919 + at_ms // 10) % _TRIPLES]
        readings = [
            Reading(sensor_id=sensor, quantity=quantity, measured_at=self._timestamp(at_ms), value=value)
            for (sensor, quantity, *_), value in zip(PROBES, values, strict=True)
        ]
        message = ReadingsMessage(
            schema=1, gateway_id=gateway_id(1), boot_id=self._boot_id, seq=5, readings=readings
        )
        written, packed = encode_readings(message), self.payload(1, 5, range(at_ms, at_ms + 1))
        assert written == packed, f"the load is not what a gateway sends: {packed!r}, not {written!r}"

    def _timestamp(self, at_ms: int) -> str:
        second, ms = divmod(at_ms, 1000)
        text = self._seconds.get(second)
        if text is None:
            if len(self._seconds) > 10_000:
                self._seconds.clear()
            text = self._seconds[second] = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f"{text}.{ms:03}Z"


def gateway_id(number: int) -> str:
    return f"gw-{number:04}"


def pool_id(number: int) -> str:
    return f"pool-{number:04}"


def topic_of(number: int) -> bytes:
    return readings_topic(pool_id=pool_id(number), gateway_id=gateway_id(number)).encode()


def prepare_deployment(
    root: Path, *, gateways: int, port: int, max_inflight: int | None = None
) -> tuple[DataFolder, BrokerFiles]:
    """Registry, credentials and broker files of a deployment, as the project writes them.

    The broker's limits of what it queues are raised, so that a load fits which no live deployment lets pile up; users
    of the load and of Telegraf are added. All consumers get the same broker.
    """
    folder = DataFolder(root)
    root.mkdir(parents=True, exist_ok=True)
    folder.registry.write_text(_registry(gateways), encoding="utf-8")
    registry = folder.read_registry()

    def credential(name: str) -> Credential:
        return Credential(username=name, password=secrets.token_urlsafe(12), host="127.0.0.1", port=port)

    services = {"ingest": credential("poolwatch-ingest")}
    services |= {name: credential(name) for name in (TELEGRAF_USER, *LOAD_USERS)}
    credentials = Credentials({name: credential(name) for name in registry.gateways}, services)
    folder.credentials.touch(mode=0o600)
    folder.credentials.write_text(render_credentials(credentials), encoding="utf-8")
    files = write_broker_files(folder.broker, registry=registry, credentials=credentials, port=port)
    conf = files.mosquitto_conf.read_text(encoding="utf-8")
    for old, new in (
        (f"max_queued_bytes {MAX_QUEUED_BYTES}", f"max_queued_bytes {_LOAD_QUEUED_BYTES}"),
        (f"memory_limit {MEMORY_LIMIT_BYTES}", "memory_limit 0"),
        (f"max_inflight_messages {MAX_INFLIGHT}", f"max_inflight_messages {max_inflight or MAX_INFLIGHT}"),
    ):
        assert old in conf, f"the broker's configuration has no line {old!r} any more"
        conf = conf.replace(old, new)
    files.mosquitto_conf.write_text(conf, encoding="utf-8")
    with (folder.broker / "acl").open("a", encoding="utf-8") as acl:
        acl.write(f"\nuser {TELEGRAF_USER}\ntopic read pools/#\n")
        for name in LOAD_USERS:
            acl.write(
                f"\nuser {name}\ntopic write pools/#\ntopic write gateways/+/status\ntopic read gateways/+/stored\n"
            )
    return folder, files


def _registry(gateways: int) -> str:
    parts = ['schema = 1\n[venues.v1]\nname_zh = "馆"\nname_en = "Venue"\ndistrict = "wujin"\n']
    sensors = ", ".join(
        f'{{ id = "{sensor}", quantity = "{quantity}", interval_s = 10 }}' for sensor, quantity, *_ in PROBES
    )
    parts += [
        f'[pools.{pool_id(number)}]\nvenue = "v1"\nname_zh = "池"\nname_en = "Pool"\nkind = "indoor"\n'
        f'opening_hours = "06:00-22:00"\nsensors = [{sensors}]\n'
        f'[gateways.{gateway_id(number)}]\npools = ["{pool_id(number)}"]\n'
        for number in range(gateways)
    ]
    return "".join(parts)
