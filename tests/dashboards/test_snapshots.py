"""What the public sees is hashed over its facts, never contradicts its verdict, and leaves at its deadline."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.results import Doubt, PoolCondition, PoolState, Reason, ReasonCode, ShownValue, ValueState
from dashboards.public import words
from dashboards.public.snapshots import (
    Snapshot,
    build_snapshot,
    expires_at_ms,
    limit_text,
    list_entry,
    publication_row,
    shown_number,
    withhold_expired,
    worst_first,
)

T0 = 1_782_892_800_000


@pytest.fixture
def build(service: Any) -> Callable[..., Snapshot]:
    def made(state: PoolState, *, at_ms: int = T0) -> Snapshot:
        pool = service.registry.pools[state.pool_id]
        return build_snapshot(state, pool=pool, registry=service.registry, published_at_ms=at_ms)

    return made


@pytest.fixture
def state(make_state: Callable[..., PoolState], make_value: Callable[..., ShownValue]) -> PoolState:
    return make_state(make_value())


def test_the_hash_is_over_facts_and_not_over_when_they_were_said(
    build: Callable[..., Snapshot], state: PoolState, make_state: Any, make_value: Any
) -> None:
    first, second = build(state), build(state, at_ms=T0 + 5000)
    assert first["hash"] == second["hash"]
    assert first["published_at"] != second["published_at"]
    other = build(make_state(make_value(0.53)))
    assert other["hash"] != first["hash"]
    later = build(make_state(make_value(measured_at_ms=T0 + 1)))
    assert later["hash"] != first["hash"]


def test_a_snapshot_has_the_fields_of_the_contract(build: Callable[..., Snapshot], state: PoolState) -> None:
    snapshot = build(state)
    assert {
        "pool_id",
        "state",
        "reason",
        "open",
        "opens_at",
        "closes_at",
        "published_at",
        "values",
        "hash",
    } <= set(snapshot)
    (value,) = snapshot["values"]
    assert value | {"reason": None} == {
        "quantity": "free_chlorine_mg_l",
        "sensor_id": "fc-1",
        "place": "return line",
        "kind": "online",
        "value": 0.52,
        "unit": "mg/L",
        "limit": [0.3, 1.0],
        "binding": True,
        "clause": "GB 37488-2019",
        "state": "in_standard",
        "measured_at": "2026-07-01T08:00:00.000Z",
        "valid_until": "2026-07-01T08:01:00.000Z",
        "reason": None,
    }


def test_a_number_leaves_at_its_deadline_and_the_pool_is_overdue(
    build: Callable[..., Snapshot], state: PoolState
) -> None:
    snapshot = build(state)
    deadline = T0 + 60_000
    assert expires_at_ms(snapshot) == deadline
    assert withhold_expired(snapshot, now_ms=deadline - 1) is snapshot
    gone = withhold_expired(snapshot, now_ms=deadline)
    assert gone["values"][0]["value"] is None
    assert gone["values"][0]["reason"]["code"] == "no_result_in_time"
    assert (gone["state"], gone["hash"] != snapshot["hash"]) == ("overdue", True)
    assert expires_at_ms(gone) is None


@pytest.mark.parametrize(
    "condition", [PoolCondition.CLOSED, PoolCondition.OUT_OF_STANDARD, PoolCondition.MAINTENANCE]
)
def test_a_deadline_never_makes_another_state_better(
    build: Callable[..., Snapshot], make_state: Any, make_value: Any, condition: PoolCondition
) -> None:
    snapshot = build(make_state(make_value(), state=condition))
    assert withhold_expired(snapshot, now_ms=T0 + 60_000)["state"] == condition


def test_the_list_has_the_worst_first(
    build: Callable[..., Snapshot], make_state: Any, make_value: Any
) -> None:
    good = build(make_state(make_value(), pool_id="p1"))
    bad = build(
        make_state(
            make_value(0.1, state=ValueState.OUT_OF_STANDARD),
            pool_id="p2",
            state=PoolCondition.OUT_OF_STANDARD,
        )
    )
    ordered = worst_first({"p1": good, "p2": bad})
    assert [list_entry(one)["pool_id"] for one in ordered] == ["p2", "p1"]
    assert list_entry(bad)["worst"] == {
        "quantity": "free_chlorine_mg_l",
        "value": 0.1,
        "state": "out_of_standard",
    }


def test_a_publication_keeps_value_and_time_of_measurement(
    build: Callable[..., Snapshot], state: PoolState
) -> None:
    row = publication_row(build(state), replica="r1")
    assert (row.pool_id, row.published_at_ms, row.replica) == ("p1", T0, "r1")
    assert [(value.sensor_id, value.measured_at_ms, value.value, value.status) for value in row.values] == [
        ("fc-1", T0, 0.52, "normal")
    ]


def test_a_result_beside_the_shown_one_is_published_and_leaves_at_its_own_deadline(
    build: Callable[..., Snapshot], make_state: Any, make_value: Any
) -> None:
    by_hand = make_value(1.2, kind="manual", state=ValueState.OUT_OF_STANDARD, valid_s=600)
    state = make_state(by_hand, state=PoolCondition.OUT_OF_STANDARD)
    snapshot = build(msgspec.structs.replace(state, others=[make_value(valid_s=20)]))
    assert [(value.status, value.value) for value in publication_row(snapshot, replica="r").values] == [
        ("manual", 1.2),
        ("normal", 0.52),
    ]
    assert expires_at_ms(snapshot) == T0 + 20_000
    later = withhold_expired(snapshot, now_ms=T0 + 20_000)
    assert (later["others"], later["values"], later["state"]) == ([], snapshot["values"], "out_of_standard")


@given(st.floats(0.0, 2.0))
def test_a_number_is_never_rounded_across_its_limit(value: float) -> None:
    text = shown_number(value, "free_chlorine_mg_l", (0.3, 1.0))
    if abs(value - 0.3) > 1e-6 and abs(value - 1.0) > 1e-6:  # six digits are the most that are shown
        assert (0.3 <= float(text) <= 1.0) == (0.3 <= value <= 1.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.52, "0.52"), (0.2999, "0.2999"), (0.3, "0.30"), (1.004, "1.004"), (0.999, "0.999"), (1.0, "1.00")],
)
def test_a_number_has_its_usual_digits_unless_they_would_lie(value: float, text: str) -> None:
    assert shown_number(value, "free_chlorine_mg_l", (0.3, 1.0)) == text


def test_limits_as_text() -> None:
    found = [
        limit_text(limit)
        for limit in ((0.3, 1.0), (7.0, 7.8), (23, 30), (None, 1.0), (650, None), (None, None))
    ]
    assert found == ["0.3–1.0", "7.0–7.8", "23–30", "≤ 1", "≥ 650", ""]


@pytest.mark.parametrize("code", list(ReasonCode))
def test_every_reason_has_words_in_both_languages(code: ReasonCode) -> None:
    sentence = words.reason_words(Reason(code, quantity="ph"))
    assert sentence is not None
    assert "{" not in sentence.zh + sentence.en
    assert not sentence.en.startswith("PH")


def test_every_state_has_words_and_a_shape(pytestconfig: pytest.Config) -> None:
    assert set(words.CONDITIONS) == set(words.ADVICE) == set(PoolCondition)
    assert set(words.VALUE_STATES) == set(ValueState)
    assert set(words.DOUBTS) == set(Doubt)
    shapes = (pytestconfig.rootpath / "dashboards/public/static/shapes.svg").read_text(encoding="utf-8")
    for state in {*PoolCondition, *ValueState}:
        assert f'id="{state}"' in shapes
