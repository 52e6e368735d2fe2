from ingest.quarantine_alarm import QuarantineAlarm

MINUTE_MS = 60_000
T0 = 1_782_892_800_000


def test_a_few_refusals_are_no_alarm_and_leave_after_an_hour() -> None:
    alarm = QuarantineAlarm(limit=3)
    assert not alarm.note(2, T0)
    assert (alarm.last_hour, alarm.is_raised) == (2, False)
    assert not alarm.note(0, T0 + 61 * MINUTE_MS)
    assert alarm.last_hour == 0


def test_the_alarm_goes_up_once_and_down_after_a_clean_hour() -> None:
    alarm = QuarantineAlarm(limit=3)
    told = [alarm.note(1, T0 + minute * MINUTE_MS) for minute in range(5)]
    assert told == [False, False, True, False, False]
    assert alarm.is_raised
    alarm.note(0, T0 + 60 * MINUTE_MS)
    assert (alarm.last_hour, alarm.is_raised) == (4, True)
    alarm.note(0, T0 + 65 * MINUTE_MS)
    assert (alarm.last_hour, alarm.is_raised) == (0, False)
    assert alarm.note(3, T0 + 70 * MINUTE_MS)


def test_a_clock_that_is_put_back_loses_no_count() -> None:
    alarm = QuarantineAlarm(limit=100)
    alarm.note(5, T0)
    alarm.note(5, T0 - 30 * MINUTE_MS)
    assert alarm.last_hour == 10
    alarm.note(0, T0 + 61 * MINUTE_MS)
    assert alarm.last_hour == 0
