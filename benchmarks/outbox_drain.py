"""How fast a backlog leaves an outbox through a real Mosquitto, now and the previous way."""

import json
import os
import queue
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.outbox_consumer import Report
from benchmarks.outbox_messages import BOOT, GATEWAY, PlainRows, payloads, three
from gateway.contract.codec import decode_receipt
from gateway.contract.credentials import Credential
from gateway.contract.readings import Reading
from gateway.contract.topics import stored_topic
from gateway.outbox import Outbox
from gateway.publisher import Publisher
from gateway.service import GatewayService, Pace


def clock() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def mosquitto(folder: Path) -> Iterator[int]:
    """A broker on a free port of loopback."""
    program = shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if program is None:
        raise SystemExit("mosquitto is not installed (Debian: mosquitto)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    user = "user root\n" if os.geteuid() == 0 else ""
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 1000\nmax_queued_messages 0\n{user}"
    )
    broker = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        yield port
    finally:
        broker.terminate()
        broker.wait()


@contextmanager
def consumer(port: int) -> Iterator[Callable[[], Report]]:
    """A consumer that gives receipts; the call ends it and returns what it saw."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.outbox", "--consume", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "ready"
        ended = False

        def end() -> Report:
            nonlocal ended
            ended = True
            said, _ = child.communicate("end\n")
            return Report(**json.loads(said))

        try:
            yield end
        finally:
            if not ended:
                child.kill()


@dataclass
class LiveSensor:
    """Three quantities of another pool, ten times a second."""

    pool_id: str = "live"
    interval_s: float = 0.1
    count: int = field(default=0)

    def read(self, now_ms: int) -> list[Reading]:
        """Readings of now."""
        self.count += 1
        return three(now_ms, (0.5, 7.3, 27.0))


@dataclass(frozen=True, slots=True)
class Drained:
    """How fast a backlog left, on how much of a core here, and what the consumer saw."""

    messages_per_s: float
    cores: float
    report: Report


def drain(folder: Path, port: int) -> Drained:
    """Send everything in the outbox of a folder beside live readings, until receipts have named it all."""
    outbox = Outbox(folder / "outbox.sqlite")
    backlog = outbox.account().messages_pending
    service = GatewayService(
        GATEWAY,
        [LiveSensor()],
        outbox,
        Publisher(gateway_id=GATEWAY, credential=Credential(GATEWAY, "x", "127.0.0.1", port)),
        clock,
        Pace(),
    )
    with consumer(port) as end:
        begun, cpu, look = time.monotonic(), time.process_time(), 0.0
        service.start_boot()
        while True:
            wait_s = service.step(clock())
            if time.monotonic() >= look:
                look = time.monotonic() + 0.2
                if not any(boot == BOOT for boot, _, _ in outbox.ranges()):
                    break
            service.wake.wait(wait_s)
            service.wake.clear()
        took_s, cpu = time.monotonic() - begun, time.process_time() - cpu
        service.measuring = False
        service.close()
        return Drained(backlog / took_s, cpu / took_s, end())


def drain_previous(folder: Path, port: int, count: int, *, unacknowledged: int, unconfirmed: int) -> Drained:
    """The previous way: a row, a `publish`, a PUBACK at a time, within two windows; no live readings."""
    rows = PlainRows(folder / "plain.sqlite")
    rows.append(0, list(payloads(count)))
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=GATEWAY, protocol=mqtt.MQTTv311)
    client.max_inflight_messages_set(0)
    events: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()

    def on_publish(*_: object) -> None:
        events.put(None)

    def on_message(_client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        for span in decode_receipt(bytes(message.payload)).stored:
            events.put(span)

    client.on_publish, client.on_message = on_publish, on_message
    with consumer(port) as end:
        client.connect("127.0.0.1", port)
        client.subscribe(stored_topic(GATEWAY), qos=1)
        client.loop_start()
        begun, cpu = time.monotonic(), time.process_time()
        sent = acknowledged = confirmed = 0
        while confirmed < count:
            room = min(unacknowledged - (sent - acknowledged), unconfirmed - (sent - confirmed))
            for topic, payload in rows.connection.execute(
                "SELECT topic, payload FROM message WHERE id > ? ORDER BY id LIMIT ?", (sent, max(room, 0))
            ).fetchall():
                client.publish(topic, payload, qos=1)
                sent += 1
            taken = [events.get()]
            while not events.empty():
                taken.append(events.get())
            named = [span for span in taken if span is not None]
            acknowledged += len(taken) - len(named)
            if named:
                rows.connection.execute("BEGIN IMMEDIATE")
                for first, last in named:
                    confirmed += rows.connection.execute(
                        "DELETE FROM message WHERE boot_id = ? AND seq BETWEEN ? AND ?", (BOOT, first, last)
                    ).rowcount
                rows.connection.execute("COMMIT")
        took_s, cpu = time.monotonic() - begun, time.process_time() - cpu
        client.disconnect()
        client.loop_stop()
        rows.connection.close()
        return Drained(count / took_s, cpu / took_s, end())
