from ingest.subscriber_handover import QUIET_S, Handover

LATER_S = 2 * QUIET_S


def test_an_answer_after_the_last_acknowledgement_says_that_nothing_is_left() -> None:
    handover = Handover(0.0)
    assert not handover.ask(answers=0, now_s=LATER_S)
    assert not handover.is_complete(answers=1)
    handover.receive(3, 0.5)
    handover.settle(3)
    assert not handover.ask(answers=1, now_s=0.6)
    assert handover.ask(answers=1, now_s=0.5 + LATER_S)
    assert not handover.is_complete(answers=1)
    assert not handover.ask(answers=1, now_s=9.0)
    assert handover.is_complete(answers=2)
    assert not handover.ask(answers=2, now_s=99.0)


def test_a_session_that_held_nothing_is_asked_too() -> None:
    handover = Handover(0.0)
    assert not handover.is_complete(answers=1)
    assert handover.ask(answers=1, now_s=LATER_S)
    assert handover.is_complete(answers=2)


def test_silence_says_nothing_while_something_is_not_settled() -> None:
    handover = Handover(0.0)
    handover.receive(2, 0.0)
    handover.settle(1)
    assert not handover.ask(answers=1, now_s=1000.0)
    assert not handover.is_complete(answers=1)
    handover.settle(1)
    assert handover.ask(answers=1, now_s=1000.0)


def test_a_message_before_the_answer_makes_it_void() -> None:
    handover = Handover(0.0)
    assert handover.ask(answers=1, now_s=LATER_S)
    handover.receive(1, LATER_S + 0.1)
    assert not handover.is_complete(answers=2)
    assert not handover.ask(answers=2, now_s=3 * LATER_S)
    handover.settle(1)
    assert handover.ask(answers=2, now_s=3 * LATER_S)
    assert handover.is_complete(answers=3)
