"""Sample to screen, and deadline to lapse: the whole system on this machine, measured from outside.

100 simulated pools are measured once every 5 s. A client of `/v1/stream` notes when each value reaches it; what it
compares with is the reading's own `measured_at`, at which it was published. Some sensors then fall silent; a reader of
the store notes when their lapses appear, and compares with the instant from which they were overdue.

Prints a table, and as its last line one JSON object.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil

from analytics.results import VerdictKind, decode_verdict
from gateway.contract.times import parse_timestamp
from ingest.store.opening import open_store
from poolwatch.clock import system_clock_ms
from poolwatch.demo import DemoSettings, demo_children, prepare_folder, wait_until_ready
from poolwatch.ports import choose_port
from poolwatch.supervisor import Supervisor
from simulators.scenarios import build_scenario

_WARM_UP_S = 10.0


@dataclass
class _Observed:
    """What was seen from outside."""

    screen_s: list[float] = field(default_factory=list)
    lapse_s: list[float] = field(default_factory=list)
    seen: set[tuple[str, str, str]] = field(default_factory=set)


def _watch_stream(url: str, observed: _Observed, since_ms: int, stop: threading.Event) -> None:
    """Note the delay of every online value measured after the warm-up, once."""
    with (
        httpx.Client(timeout=httpx.Timeout(10, read=30)) as client,
        client.stream("GET", f"{url}/v1/stream") as answer,
    ):
        for line in answer.iter_lines():
            if stop.is_set():
                return
            if not line.startswith("data:"):
                continue
            now_ms = system_clock_ms()
            snapshot = json.loads(line[5:])
            if "values" not in snapshot:
                continue  # the clock
            for value in snapshot["values"]:
                if value["kind"] != "online" or value["value"] is None or not value["measured_at"]:
                    continue
                key = (snapshot["pool_id"], value["quantity"], value["measured_at"])
                measured_ms = parse_timestamp(value["measured_at"])
                if measured_ms >= since_ms and key not in observed.seen:
                    observed.seen.add(key)
                    observed.screen_s.append((now_ms - measured_ms) / 1000)


def _watch_lapses(store_url: str, observed: _Observed, since_ms: int, stop: threading.Event) -> None:
    """Note how long after its start each lapse's first revision can be read."""
    store = open_store(store_url)
    cursor: str | None = None
    try:
        while not stop.wait(0.05):
            rows, cursor = store.verdicts_after(cursor)
            now_ms = system_clock_ms()
            for row in rows:
                verdict = decode_verdict(row.body)
                if verdict.kind is VerdictKind.LAPSE and row.revision == 1 and row.start_ms >= since_ms:
                    observed.lapse_s.append((now_ms - row.start_ms) / 1000)
    finally:
        store.close()


def _resources(supervisor: Supervisor) -> tuple[float, dict[str, float], dict[str, float]]:
    """Memory in MB of all children together, and CPU seconds and MB of each."""
    cpu, memory = {}, {}
    for name, child in supervisor.children.items():
        assert child.process is not None
        family = [psutil.Process(child.process.pid)]
        family += family[0].children(recursive=True)
        cpu[name] = sum(sum(member.cpu_times()[:2]) for member in family)
        memory[name] = sum(member.memory_info().rss for member in family) / 1e6
    return sum(memory.values()), cpu, memory


def measure(
    *, pools: int, seconds: float, scenario_name: str
) -> tuple[_Observed, float, dict[str, float], dict[str, float]]:
    """Run the system for `seconds` after its warm-up."""
    with tempfile.TemporaryDirectory(prefix="poolwatch-bench-") as root:
        start_ms = system_clock_ms()
        scenario = build_scenario(scenario_name, pools=pools, seed=1, start_ms=start_ms)
        settings = DemoSettings(
            data_dir=Path(root),
            keep=True,
            port=choose_port(given=None, default=18080, option="--port"),
            broker_port=choose_port(given=None, default=11883, option="--broker-port"),
            pools=pools,
            seed=1,
            duration_s=None,
            scenario=scenario_name,
        )
        folder = prepare_folder(settings, scenario)
        supervisor = Supervisor()
        stop = threading.Event()
        observed = _Observed()
        try:
            for child in demo_children(folder, settings, start_ms):
                supervisor.start(child)
            url = f"http://127.0.0.1:{settings.port}"
            wait_until_ready(supervisor, url)
            since_ms = system_clock_ms() + int(_WARM_UP_S * 1000)
            watchers = [
                threading.Thread(target=_watch_stream, args=(url, observed, since_ms, stop), daemon=True),
                threading.Thread(
                    target=_watch_lapses, args=(folder.store_url(None), observed, since_ms, stop), daemon=True
                ),
            ]
            for watcher in watchers:
                watcher.start()
            time.sleep(_WARM_UP_S)
            _, cpu_before, _ = _resources(supervisor)
            time.sleep(seconds)
            total_mb, cpu_after, memory = _resources(supervisor)
            stop.set()
            watchers[1].join(5)
            cpu = {name: (cpu_after[name] - cpu_before[name]) / seconds for name in cpu_after}
        finally:
            supervisor.stop_all()
        return observed, total_mb, cpu, memory


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pools", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--scenario", default="load")
    options = parser.parse_args()
    observed, total_mb, cpu, memory = measure(
        pools=options.pools, seconds=options.seconds, scenario_name=options.scenario
    )
    if not observed.screen_s or not observed.lapse_s:
        sys.exit(
            f"nothing to measure: {len(observed.screen_s)} values and {len(observed.lapse_s)} lapses were seen"
        )
    screen = np.asarray(observed.screen_s)
    lapse = np.asarray(observed.lapse_s)
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    figures = {
        "sample_to_screen_p50_s": round(float(np.percentile(screen, 50)), 3),
        "sample_to_screen_p95_s": round(float(np.percentile(screen, 95)), 3),
        "sample_to_screen_max_s": round(float(screen.max()), 3),
        "values_seen": screen.size,
        "lapse_open_p50_s": round(float(np.percentile(lapse, 50)), 3),
        "lapse_open_max_s": round(float(lapse.max()), 3),
        "lapses_seen": lapse.size,
        "pools": options.pools,
        "memory_mb": round(total_mb),
        "cpu_cores": round(sum(cpu.values()), 3),
        "revision": revision.stdout.strip(),
    }
    print(f"{options.pools} pools, scenario {options.scenario}, {options.seconds:.0f} s")
    print(f"{'':24}{'p50':>9}{'p95':>9}{'max':>9}{'n':>8}")
    for name, values in (("sample to screen, s", screen), ("deadline to lapse, s", lapse)):
        p50, p95 = np.percentile(values, (50, 95))
        print(f"{name:24}{p50:9.3f}{p95:9.3f}{values.max():9.3f}{values.size:8d}")
    print(f"{'service':24}{'CPU, cores':>12}{'memory, MB':>12}")
    for name in cpu:
        print(f"{name:24}{cpu[name]:12.3f}{memory[name]:12.0f}")
    print(f"{'all':24}{sum(cpu.values()):12.3f}{total_mb:12.0f}")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
