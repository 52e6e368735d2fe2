"""Our ingest beside Telegraf: a load that waits at one broker is drained into a store, everything else alike.

A thousand gateways with three probes each; messages of three readings, and a quarter as many of sixty.
Everything runs on free ports of loopback in a temporary folder. The clock runs from the consumer's start until its store
holds all, or, `from first`, from when the store had taken the first; CPU seconds are for a million values; `others` is
what other programs took meanwhile, in cores: measure again where it is not near 0. Prints tables, and as its last line
one JSON object.
"""

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.ingest_consumers import (
    TELEGRAF_TRIALS,
    Consumer,
    Ingest,
    NotMeasuredError,
    Telegraf,
    TelegrafSettings,
    ingest_into_influx,
    ingest_into_sqlite,
)
from benchmarks.ingest_drain import Drain, Place, Programs, best_of, measure_drain, running_place
from benchmarks.ingest_endurance import measure_endurance, measure_latency
from benchmarks.ingest_load import TELEGRAF_USER, Load, MessageTexts
from benchmarks.ingest_servers import find_program
from poolwatch.clock import system_clock_ms

_READINGS = 3
_INSTANTS_OF_60 = 20
#: Of sixty readings, fewer messages are queued: they are as large together as five times as many of three.
_FEWER_OF_60 = 4
#: Share of the load on which Telegraf's settings are tried.
_TRIAL_SHARE = 0.2
_LATENCY_MESSAGES_PER_S, _LATENCY_S = 1000.0, 30.0
#: What can be asked for with --only.
_MEASUREMENTS = ("telegraf_3", "influx_3", "telegraf_60", "influx_60", "sqlite_3", "sqlite_60")


@dataclass(frozen=True, slots=True)
class Setting:
    """What all drains of a run share."""

    programs: Programs
    root: Path
    repeat: int
    max_inflight: int | None

    def drain(self, load: Load, *, with_influx: bool, build: Callable[[Place], Consumer]) -> Drain:
        """The best drain of several, each on servers of its own."""

        def once() -> Drain:
            with running_place(
                self.programs,
                self.root / "run",
                gateways=load.gateways,
                with_influx=with_influx,
                max_inflight=self.max_inflight,
            ) as place:
                return measure_drain(place, build(place), load)

        return best_of(self.repeat, once)


def telegraf_in(programs: Programs, settings: TelegrafSettings) -> Callable[[Place], Consumer]:
    """Builds Telegraf for a place."""

    def build(place: Place) -> Consumer:
        assert programs.telegraf is not None
        assert place.influx is not None
        password = place.folder.read_credentials().services[TELEGRAF_USER].password
        return Telegraf(programs.telegraf, place.folder.root, password, place.port, place.influx, settings)

    return build


def _into_influx(place: Place) -> Ingest:
    assert place.influx is not None
    return ingest_into_influx(place.folder, place.influx)


def _into_sqlite(place: Place) -> Ingest:
    return ingest_into_sqlite(place.folder)


def _show_head() -> None:
    print(
        f"{'':34}{'values/s':>10}{'from first':>11}{'CPU s/M':>9}{'peak MiB':>9}{'influxd':>9}{'broker':>8}"
        f"{'lost':>8}{'twice':>7}{'queued at':>11}{'others':>8}",
        flush=True,
    )


def _show(name: str, drain: Drain) -> None:
    million = drain.sent_values / 1e6
    print(
        f"{name:34}{drain.values_per_s:10,.0f}{drain.values_per_s_from_first:11,.0f}{drain.cpu_s_per_million:9.2f}"
        f"{drain.peak_mib:9,.0f}{drain.influx_cpu_s / million:9.2f}{drain.broker_cpu_s / million:8.2f}"
        f"{drain.lost:8,}{drain.duplicated:7,}{drain.queued_per_s:9,.0f}/s{drain.elsewhere_cores:8.2f}"
        f"{'  THE BROKER DROPPED MESSAGES' if drain.broker_dropped else ''}",
        flush=True,
    )


def best_telegraf(setting: Setting, load: Load) -> TelegrafSettings:
    """The settings with which Telegraf drains a part of the load soonest and whole."""
    part = replace(load, messages=max(int(load.messages * _TRIAL_SHARE), load.gateways))
    found = []
    for settings in TELEGRAF_TRIALS:
        once = replace(setting, repeat=1)
        drain = once.drain(part, with_influx=True, build=telegraf_in(setting.programs, settings))
        _show(f"  trial: {settings}", drain)
        found.append((drain.lost, -drain.values_per_s_from_first, str(settings), settings))
    return min(found)[-1]


def measure(
    setting: Setting,
    *,
    messages: int,
    gateways: int,
    seed: int,
    only: tuple[str, ...],
    chosen: TelegrafSettings | None,
) -> dict[str, float | str | None]:
    """Drain each load by each consumer that is there; figures by name."""
    figures: dict[str, float | str | None] = {}
    now_ms = system_clock_ms()
    for per_message, instants in ((_READINGS, 1), (_READINGS * _INSTANTS_OF_60, _INSTANTS_OF_60)):
        wanted = [name for name in only if name.endswith(f"_{per_message}")]
        if not wanted:
            continue
        queued = messages if per_message == _READINGS else messages // _FEWER_OF_60
        load = Load(max(queued, gateways), instants, gateways, seed).ending_before(now_ms)
        figures[f"messages_{per_message}"] = load.messages
        print(f"\n{load.messages:,} messages of {per_message} readings, {load.values:,} values")
        _show_head()
        for name in wanted:
            reason = _absent(name, setting.programs)
            if reason is None:
                try:
                    _measure_one(setting, name, load, figures, chosen=chosen)
                except NotMeasuredError as error:
                    reason = str(error)
            if reason is not None:
                print(f"{name:34}not measured: {reason}", flush=True)
                figures[f"{name}_values_per_s"] = None
    return figures


def _measure_one(
    setting: Setting,
    name: str,
    load: Load,
    figures: dict[str, float | str | None],
    *,
    chosen: TelegrafSettings | None,
) -> None:
    if name.startswith("telegraf"):
        settings = chosen or best_telegraf(setting, load)
        figures[f"{name}_settings"] = str(settings)
        drain = setting.drain(load, with_influx=True, build=telegraf_in(setting.programs, settings))
    elif name.startswith("influx"):
        drain = setting.drain(load, with_influx=True, build=_into_influx)
    else:
        drain = setting.drain(load, with_influx=False, build=_into_sqlite)
    _show(drain.name, drain)
    figures |= {
        f"{name}_values_per_s": round(drain.values_per_s),
        f"{name}_values_per_s_from_first": round(drain.values_per_s_from_first),
        f"{name}_cpu_s_per_million": round(drain.cpu_s_per_million, 2),
        f"{name}_influxd_cpu_s_per_million": round(drain.influx_cpu_s / drain.sent_values * 1e6, 2),
        f"{name}_broker_cpu_s_per_million": round(drain.broker_cpu_s / drain.sent_values * 1e6, 2),
        f"{name}_peak_rss_mib": round(drain.peak_mib, 1),
        f"{name}_other_programs_cores": round(drain.elsewhere_cores, 2),
        f"{name}_lost": drain.lost,
        f"{name}_duplicated": drain.duplicated,
    }


def _absent(name: str, programs: Programs) -> str | None:
    if not name.startswith("sqlite") and programs.influxd is None:
        return "influxd is not here: name it with --influxd, POOLWATCH_INFLUXD or on PATH"
    if name.startswith("telegraf") and programs.telegraf is None:
        return "telegraf is not here: name it with --telegraf, POOLWATCH_TELEGRAF or on PATH"
    return None


def _served(setting: Setting, gateways: int, given: argparse.Namespace) -> dict[str, float | str | None]:
    """Delays, and the run of faults, with the store that was asked for."""
    figures: dict[str, float | str | None] = {}
    with_influx = given.store == "influx"
    build = _into_influx if with_influx else _into_sqlite
    if with_influx and setting.programs.influxd is None:
        print(f"not measured: {_absent('influx', setting.programs)}")
        return figures
    with running_place(
        setting.programs, setting.root / "served", gateways=gateways, with_influx=with_influx
    ) as place:
        try:
            consumer = build(place)
        except NotMeasuredError as error:
            print(f"not measured: {error}")
            return figures
        if given.latency:
            print(f"\n{_LATENCY_MESSAGES_PER_S:,.0f} messages/s for {_LATENCY_S:.0f} s, {consumer.name}")
            figures |= measure_latency(
                place,
                consumer,
                gateways=gateways,
                messages_per_s=_LATENCY_MESSAGES_PER_S,
                seconds=_LATENCY_S,
            )
        else:
            print(f"\n{given.readings_per_s:,.0f} readings/s for {given.endurance:g} min, {consumer.name}")
            figures |= measure_endurance(
                place,
                consumer,
                minutes=given.endurance,
                gateways=gateways,
                readings_per_s=given.readings_per_s,
                csv_path=given.memory,
            )
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--influxd", help="InfluxDB 2's server; else POOLWATCH_INFLUXD or PATH")
    parser.add_argument("--telegraf", help="Telegraf; else POOLWATCH_TELEGRAF or PATH")
    parser.add_argument("--mosquitto", help="the broker; else POOLWATCH_MOSQUITTO or PATH")
    parser.add_argument("--messages", type=int, default=400_000, help="of three readings")
    parser.add_argument("--gateways", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=1, help="the best of so many drains")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default=",".join(_MEASUREMENTS[:5]), help=", ".join(_MEASUREMENTS))
    parser.add_argument(
        "--telegraf-settings",
        metavar="PARSER,ENCODING,BATCH",
        help="as json,identity,3000, instead of trying which are best",
    )
    parser.add_argument("--readings-per-s", type=float, default=10_000.0, help="of the run of faults")
    parser.add_argument("--max-inflight", type=int, help="messages the broker hands out unacknowledged")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it")
    parser.add_argument("--latency", action="store_true", help="instead: delays at 1,000 messages/s")
    parser.add_argument("--endurance", type=float, metavar="MINUTES", help="instead: a run of faults")
    parser.add_argument("--store", choices=("sqlite", "influx"), default="sqlite", help="of those two")
    parser.add_argument(
        "--memory", type=Path, default=Path("ingest_memory.csv"), help="CSV of the run of faults"
    )
    given = parser.parse_args()
    given.only = tuple(given.only.split(","))
    if given.telegraf_settings is not None:
        tool, encoding, batch = given.telegraf_settings.split(",")
        given.telegraf_settings = TelegrafSettings(tool, encoding, int(batch))
    if unknown := set(given.only) - set(_MEASUREMENTS):
        parser.error(f"--only: {', '.join(sorted(unknown))}? There are {', '.join(_MEASUREMENTS)}")
    return given


def main() -> None:
    """Measure what was asked for and print it."""
    given = _arguments()
    # Ended by a signal, it still ends its servers and takes its folder away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    mosquitto = find_program("mosquitto", given.mosquitto, "POOLWATCH_MOSQUITTO")
    if mosquitto is None:
        sys.exit("mosquitto is not here: name it with --mosquitto")
    programs = Programs(
        mosquitto,
        find_program("influxd", given.influxd, "POOLWATCH_INFLUXD"),
        find_program("telegraf", given.telegraf, "POOLWATCH_TELEGRAF"),
    )
    MessageTexts(given.seed, "bench-1").check()
    with tempfile.TemporaryDirectory(prefix="poolwatch-bench-") as temporary:
        setting = Setting(programs, given.keep or Path(temporary), given.repeat, given.max_inflight)
        if given.latency or given.endurance:
            figures = _served(setting, given.gateways, given)
        else:
            figures = measure(
                setting,
                messages=given.messages,
                gateways=given.gateways,
                seed=given.seed,
                only=given.only,
                chosen=given.telegraf_settings,
            )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
