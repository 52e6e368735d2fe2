"""Who takes what the outbox's benchmark publishes, and gives a receipt a second, as ingest does."""

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass
from statistics import median

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from gateway.contract.codec import encode_receipt
from gateway.contract.receipts import Receipt
from gateway.contract.times import parse_timestamp
from gateway.contract.topics import parse_topic, stored_topic

#: When the backlog begins.
START_MS = 1_785_000_000_000
_RECEIPT_EVERY_S = 1.0
_RANGES_MOST = 1000


@dataclass(frozen=True, slots=True)
class Report:
    """What arrived: different messages, those that came twice, and how long live ones took from their reading. [ms]"""

    received: int
    repeated: int
    live: int
    live_ms_most: float
    live_ms_half: float


def consume(port: int) -> None:
    """Say "ready", take everything until a line comes on standard input, then print a report."""
    lock = threading.Lock()
    fresh: dict[tuple[str, str], list[int]] = {}
    seen: dict[str, set[int]] = {}
    live_ms: list[float] = []
    repeated = 0
    ready, done = threading.Event(), threading.Event()

    def on_message(_client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage) -> None:
        nonlocal repeated
        payload = message.payload
        boot_at = payload.index(b'"boot_id":"') + 11
        boot_id = payload[boot_at : payload.index(b'"', boot_at)].decode()
        seq_at = payload.index(b'"seq":') + 6
        seq = int(payload[seq_at : payload.index(b",", seq_at)])
        topic = message.topic
        if topic.startswith("pools/live/"):
            measured = json.loads(payload)["readings"][0]["measured_at"]
            live_ms.append(time.time_ns() / 1e6 - (parse_timestamp(measured) or 0))
        with lock:
            known = seen.setdefault(boot_id, set())
            repeated += seq in known
            known.add(seq)
            fresh.setdefault((topic, boot_id), []).append(seq)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"consumer-{port}", clean_session=False)
    client.on_message = on_message
    client.on_connect = lambda client, *_: client.subscribe("pools/#", qos=1)
    client.on_subscribe = lambda *_: ready.set()
    client.connect("127.0.0.1", port)
    client.loop_start()

    def give_receipts() -> None:
        while not done.wait(_RECEIPT_EVERY_S):
            with lock:
                taken = dict(fresh)
                fresh.clear()
            for (topic, boot_id), seqs in taken.items():
                ranges = ranges_of(seqs)
                gateway_id = parse_topic(topic).gateway_id
                for first in range(0, len(ranges), _RANGES_MOST):
                    receipt = Receipt(boot_id, ranges[first : first + _RANGES_MOST])
                    client.publish(stored_topic(gateway_id), encode_receipt(receipt), qos=1)

    thread = threading.Thread(target=give_receipts)
    thread.start()
    ready.wait(10)
    print("ready", flush=True)
    sys.stdin.readline()
    done.set()
    thread.join()
    client.disconnect()
    client.loop_stop()
    received = sum(map(len, seen.values()))
    most, half = (max(live_ms), median(live_ms)) if live_ms else (0.0, 0.0)
    print(json.dumps(asdict(Report(received, repeated, len(live_ms), most, half))))


def ranges_of(seqs: list[int]) -> list[tuple[int, int]]:
    """Runs of seqs, ends included."""
    ranges: list[tuple[int, int]] = []
    for seq in sorted(set(seqs)):
        if ranges and seq == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], seq)
        else:
            ranges.append((seq, seq))
    return ranges
