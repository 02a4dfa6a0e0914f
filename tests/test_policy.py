"""Decisions as pure functions of values: limits, the clock that fires next, how long to wait."""

from __future__ import annotations

import math

import pytest
from cuts import unhurried
from hypothesis import given
from hypothesis import strategies as st

from providerkit import Headers, InvalidOption, Limits, TimedOut, Timeouts
from providerkit.policy import Waiting, retry_after, timed_out

CLOCKS = ("connect", "first_event", "idle", "total")
NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


def test_the_limits_in_time_are_those_of_the_design():
    assert Timeouts() == Timeouts(connect=10, first_event=60, idle=60, total=None)


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("value", [0, -1, 0.0, math.nan, -math.inf, True, "5", b"5", [5]], ids=repr)
def test_a_clock_takes_seconds_above_0(clock, value):
    with pytest.raises(InvalidOption) as caught:
        Timeouts(**{clock: value})
    assert str(caught.value) == f"Timeouts({clock}={value!r}): it takes seconds above 0, or None for no limit"
    assert caught.value.option == "timeouts"


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("value", [None, 1, 0.001, math.inf], ids=repr)
def test_a_clock_may_have_no_limit(clock, value):
    assert getattr(Timeouts(**{clock: value}), clock) == value


@pytest.mark.parametrize("name", ["event", "error_body", "connections"])
@pytest.mark.parametrize("value", [-1, 1.5, math.inf, None, True, "5"], ids=repr)
def test_a_limit_is_a_whole_number(name, value):
    with pytest.raises(InvalidOption) as caught:
        Limits(**{name: value})
    assert str(caught.value) == f"Limits({name}={value!r}): it takes a whole number, 0 or above"
    assert caught.value.option == "limits"


def test_the_limits_in_size_are_those_of_the_design():
    assert Limits() == Limits(event=64 * 1024 * 1024, error_body=1024 * 1024, connections=0)


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_timeout_names_the_clock_its_seconds_and_the_way_out(clock):
    error = timed_out(clock, 2.50)
    assert type(error) is TimedOut
    assert (error.clock, error.seconds) == (clock, 2.5)
    assert f"(timeouts=Timeouts({clock}=...))" in str(error)
    assert " 2.5 s" in str(error)


def waiting(**timeouts: float | None) -> Waiting:
    return Waiting(Timeouts(**{"first_event": None, "idle": None, **timeouts}), started=100.0)


def test_no_clock_fires_where_none_runs():
    clocks = waiting()
    assert clocks.next() is None
    clocks.begin(101.0)
    assert clocks.next() is None


def test_the_first_event_is_waited_for_and_then_the_next():
    clocks = waiting(first_event=10, idle=3)
    clocks.begin(101.0)
    assert clocks.next() == ("first_event", 111.0)
    clocks.end(105.0)
    clocks.content()
    clocks.begin(106.0)
    assert clocks.next() == ("idle", 109.0)


def test_content_sets_the_idle_clock_back():
    clocks = waiting(idle=3)
    for now in (101.0, 102.0, 103.0):
        clocks.begin(now)
        clocks.end(now + 1)
        clocks.content()
    clocks.begin(110.0)
    assert clocks.next() == ("idle", 113.0)


@pytest.mark.parametrize("clock", ["first_event", "idle"])
def test_a_clock_stands_still_while_the_caller_has_its_turn(clock):
    clocks = waiting(first_event=10, idle=10)
    if clock == "idle":
        clocks.content()
    clocks.begin(101.0)
    clocks.end(104.0)
    assert clocks.next() is None
    clocks.begin(1000.0)
    assert clocks.next() == (clock, 1007.0)


def test_waits_without_content_add_up():
    clocks = waiting(first_event=10)
    for now in (101.0, 201.0, 301.0):
        clocks.begin(now)
        clocks.end(now + 3)
    clocks.begin(401.0)
    assert clocks.next() == ("first_event", 402.0)


def test_a_wait_ends_once():
    clocks = waiting(first_event=10)
    clocks.end(105.0)
    clocks.begin(106.0)
    clocks.end(107.0)
    clocks.end(109.0)
    clocks.begin(110.0)
    assert clocks.next() == ("first_event", 119.0)


def test_the_total_runs_all_the_time():
    clocks = waiting(total=20)
    assert clocks.next() == ("total", 120.0)
    clocks.begin(101.0)
    clocks.content()
    assert clocks.next() == ("total", 120.0)


@pytest.mark.parametrize(("first_event", "fires"), [(5, ("first_event", 106.0)), (50, ("total", 120.0))])
def test_the_clock_that_fires_first_is_named(first_event, fires):
    clocks = waiting(first_event=first_event, total=20)
    clocks.begin(101.0)
    assert clocks.next() == fires


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "20"}, 20.0),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-10"}, 0.0),
        ({"Retry-After": "1e9"}, 1e9),
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After-Ms": "0.5"}, 0.0005),
        ({"Retry-After-Ms": "-1", "Retry-After": "5"}, 0.0),
        ({"Retry-After-Ms": "1500", "Retry-After": "60"}, 1.5),
        ({"Retry-After-Ms": "soon", "Retry-After": "60"}, 60.0),
        ({"Retry-After-Ms": "nan", "Retry-After": "60"}, 60.0),
        ({"Retry-After-Ms": "soon"}, None),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT"}, 60.0),
        ({"Retry-After": "Sunday, 06-Nov-94 08:50:37 GMT"}, 60.0),
        ({"Retry-After": "Sun Nov  6 08:50:37 1994"}, 60.0),
        ({"Retry-After": "Sun, 06 Nov 1994 09:50:37 +0100"}, 60.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:37 -0000"}, 60.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0.0),
        ({"Retry-After": "Sat, 05 Nov 1994 08:49:37 GMT"}, 0.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT", "Date": "Sun, 06 Nov 1994 08:50:07 GMT"}, 30.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT", "Date": "Sun, 06 Nov 1994 08:51:37 GMT"}, 0.0),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:37 GMT", "Date": "yesterday"}, 60.0),
        ({"Retry-After": "Zun, 29 Sep 100000 15:16:17 GMT"}, None),
        ({"Retry-After": "Sun, 99 Nov 1994 08:50:37 GMT"}, None),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:37 +9999999"}, None),
        *(
            ({"Retry-After": text}, None)
            for text in ("", " ", "inf", "-inf", "nan", "1e999", "9" * 5000, "soon", ",", "99-")
        ),
        ({"Date": "Sun, 06 Nov 1994 08:49:37 GMT"}, None),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_retry_after_is_read_in_all_its_forms(headers, seconds):
    assert retry_after(Headers(headers), NOW) == seconds


@unhurried
@given(st.dictionaries(st.sampled_from(["Retry-After", "Retry-After-Ms", "Date"]), st.text() | st.datetimes().map(str)))
def test_retry_after_makes_a_wait_of_no_header_that_has_none(headers):
    seconds = retry_after(Headers(headers), NOW)
    assert seconds is None or 0 <= seconds < math.inf
