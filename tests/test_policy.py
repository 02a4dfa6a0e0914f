"""Decisions as pure functions of values: limits, the clock that fires next, how long to wait."""

from __future__ import annotations

import math

import attrs
import pytest
from cuts import unhurried
from hypothesis import given, strategies as st

import providerkit
from providerkit import Headers, InvalidOption, Limits, ProviderError, Retry, TimedOut, Timeouts
from providerkit.engine.policy import (
    MAX_KEPT,
    Breaker,
    Budget,
    Health,
    Remedy,
    Waiting,
    is_route_failure,
    remedy,
    retry_after,
    timed_out,
)

NO_NUMBERS = [math.nan, -math.inf, math.inf, True, False, "5", b"5", [5], 10**400, -(10**400), 5j]
BEYOND_WORDS = 10**5000  # an int of so many digits has no repr
CLOCKS = ("connect", "first_event", "idle", "total")
NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


def shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]} …"


@pytest.mark.parametrize("kind", [Timeouts, Limits, Retry])
@pytest.mark.parametrize("value", [BEYOND_WORDS, -BEYOND_WORDS], ids=["huge", "tiny"])
def test_a_number_that_can_not_even_be_shown_is_refused_by_name(kind, value):
    for field in attrs.fields(kind):
        with pytest.raises(InvalidOption, match=rf"^{kind.__name__}\({field.name}=<int>\): it takes"):
            kind(**{field.name: value})


def test_the_limits_in_time_are_those_of_the_design():
    assert Timeouts() == Timeouts(connect=10, first_event=60, idle=60, total=None)


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("value", [0, -1, 0.0, *NO_NUMBERS], ids=lambda value: repr(value)[:9])
def test_a_clock_takes_seconds_above_0(clock, value):
    with pytest.raises(InvalidOption) as caught:
        Timeouts(**{clock: value})
    assert str(caught.value) == f"Timeouts({clock}={shown(value)}): it takes seconds above 0, or None for no limit"
    assert caught.value.option == "timeouts"


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("value", [None, 1, 0.001, 1e308], ids=repr)
def test_a_clock_may_have_no_limit(clock, value):
    assert getattr(Timeouts(**{clock: value}), clock) == value


@pytest.mark.parametrize("name", ["event", "error_body", "connections"])
@pytest.mark.parametrize("value", [-1, 1.5, None, *NO_NUMBERS], ids=lambda value: repr(value)[:9])
def test_a_limit_is_a_whole_number(name, value):
    with pytest.raises(InvalidOption) as caught:
        Limits(**{name: value})
    assert str(caught.value) == f"Limits({name}={shown(value)}): it takes a whole number, 0 or above"
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


def test_no_wait_begins_after_the_total():
    clocks = waiting(total=20)
    clocks.begin(119.9)
    with pytest.raises(TimedOut) as caught:
        clocks.begin(120.0)
    assert (caught.value.clock, caught.value.seconds) == ("total", 20)
    clocks.clock = None  # the answer is known
    clocks.begin(130.0)


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


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 120),
        ({"Date": "Sun, 06 Nov 1994 08:49:07 GMT"}, 150),
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "soon"}, 120),
        ({"Retry-After": "Sun, 06 Nov 1994 08:49:47 GMT"}, 10),
        ({"Date": "Sun, 06 Nov 1994 09:49:07 GMT"}, 0),
    ],
    ids=str,
)
def test_a_moment_that_a_provider_has_read_is_as_good_as_a_date(headers, seconds):
    assert retry_after(Headers(headers), NOW, NOW + 120) == seconds


@unhurried
@given(st.dictionaries(st.sampled_from(["Retry-After", "Retry-After-Ms", "Date"]), st.text() | st.datetimes().map(str)))
def test_retry_after_makes_a_wait_of_no_header_that_has_none(headers):
    seconds = retry_after(Headers(headers), NOW)
    assert seconds is None or 0 <= seconds < math.inf


RETRY, NEXT, NONE = Remedy.RETRY, Remedy.NEXT, Remedy.NONE


@pytest.mark.parametrize(
    ("error", "cure", "is_down"),
    [
        (ProviderError.from_status(400, ""), NONE, False),
        (ProviderError.from_status(401, ""), NEXT, False),
        (ProviderError.from_status(402, ""), NEXT, False),
        (ProviderError.from_status(403, ""), NEXT, False),
        (ProviderError.from_status(404, ""), NEXT, False),
        (ProviderError.from_status(408, ""), RETRY, False),
        (ProviderError.from_status(409, ""), RETRY, False),
        (ProviderError.from_status(422, ""), NONE, False),
        (ProviderError.from_status(429, ""), RETRY, True),
        (ProviderError.from_status(500, ""), RETRY, True),
        (ProviderError.from_status(503, ""), RETRY, True),
        (ProviderError.from_status(529, ""), RETRY, True),
        (ProviderError("in an answer", status=200), NEXT, False),
        (ProviderError("moved", status=308), NEXT, False),
        (ProviderError("again", status=400, should_retry=True), RETRY, False),
        (providerkit.ServerError("never", status=503, should_retry=False), NEXT, True),
        (providerkit.QuotaExhausted("for good", status=429), NEXT, False),
        (providerkit.ContextLengthExceeded("too long", status=400), NEXT, False),
        (providerkit.ContentFiltered("no", status=400), NONE, False),
        (providerkit.UnexpectedContent("a page", status=200), NEXT, True),
        (providerkit.ConnectError(), RETRY, True),
        (providerkit.Disconnected(), RETRY, True),
        (providerkit.TransportError(), NEXT, True),
        (timed_out("connect", 1), NEXT, True),
        (timed_out("first_event", 1), NEXT, True),
        (timed_out("idle", 1), NEXT, True),
        (timed_out("total", 1), NONE, False),
        (providerkit.StreamTruncated(), RETRY, True),
        (providerkit.StreamMalformed(), RETRY, True),
        (providerkit.PluginError(), NEXT, False),
        (providerkit.MissingAPIKey(), NONE, False),
        (InvalidOption(), NONE, False),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'status', '')}" if isinstance(value, Exception) else "",
)
def test_what_can_be_done_about_a_failure(error, cure, is_down):
    """The table of the design, section 6."""
    assert (remedy(error), is_route_failure(error)) == (cure, is_down)


def test_the_retries_are_those_of_the_design():
    assert Retry() == Retry(attempts=3, base=0.5, cap=8.0, retry_after_cap=120.0)


@pytest.mark.parametrize(
    ("failed", "jitter", "delay"),
    [(1, 1.0, 0.5), (2, 1.0, 1.0), (3, 1.0, 2.0), (5, 1.0, 8.0), (50, 1.0, 8.0), (4, 0.25, 1.0), (1, 0.0, 0.0)]
    + [(failed, 1.0, 8.0) for failed in (1025, 2000, 10**9)],
)
def test_the_wait_is_a_part_of_what_doubles_up_to_the_cap(failed, jitter, delay):
    assert Retry(attempts=10**300).delay(failed, None, jitter, others=False) == delay


@pytest.mark.parametrize("base", [0, 1e-300, 1e308, 10**300])
def test_a_wait_is_finite_whatever_the_base(base):
    assert 0 <= Retry(attempts=5000, base=base).delay(4000, None, 1.0, others=False) <= 8.0


@pytest.mark.parametrize(
    ("asked", "others", "delay"),
    [(0.0, False, 0.0), (120.0, False, 120.0), (120.1, False, None), (8.0, True, 8.0), (8.1, True, None)],
)
def test_what_the_provider_asks_for_is_waited_up_to_a_cap(asked, others, delay):
    assert Retry().delay(1, asked, 0.5, others=others) == delay


def test_after_the_last_attempt_there_is_no_wait():
    assert Retry(attempts=2).delay(2, None, 0.5, others=False) is None
    assert Retry(attempts=2).delay(2, 1.0, 0.5, others=False) is None


@pytest.mark.parametrize("value", [0, -1, 1.5, None, *NO_NUMBERS[:-3]], ids=repr)
def test_the_attempts_are_a_whole_number_from_1(value):
    with pytest.raises(InvalidOption) as caught:
        Retry(attempts=value)
    assert str(caught.value) == f"Retry(attempts={value!r}): it takes a whole number, 1 or above"


@pytest.mark.parametrize("name", ["base", "cap", "retry_after_cap"])
@pytest.mark.parametrize("value", [-1, None, *NO_NUMBERS], ids=lambda value: repr(value)[:9])
def test_a_wait_is_seconds(name, value):
    with pytest.raises(InvalidOption) as caught:
        Retry(**{name: value})
    assert str(caught.value) == f"Retry({name}={shown(value)}): it takes seconds, 0 or above"
    assert caught.value.option == "retry"


def test_a_breaker_opens_after_three_failures_and_lets_a_probe_through_every_ten_seconds():
    assert not Breaker(failures=2).is_open
    breaker = Breaker(failures=3, tried=100.0)
    assert breaker.is_open
    assert [breaker.allows(now) for now in (100.0, 109.9, 110.0)] == [False, False, True]


def test_one_call_at_a_time_probes_a_route_that_is_down():
    health = Health()
    for _ in range(3):
        health.attempt("route", 100.0)
        health.fail("route")
    assert (health.is_down("route"), health.allows("route", 100.0), health.allows("route", 200.0)) == (
        True,
        False,
        True,
    )
    health.attempt("route", 200.0)
    assert not health.allows("route", 200.0)
    health.succeed("route", "host")
    assert health.allows("route", 200.0)
    assert not health.is_down("other")


def test_only_so_many_routes_that_failed_are_kept_and_those_that_are_down_the_longest():
    """A service whose users name the address must not grow by each that fails, nor forget what is down."""
    health = Health()
    for _ in range(3):
        health.fail("down")
    for number in range(1000):
        health.fail(f"user{number}")
    assert health.is_down("down")
    assert len(health._breakers) == MAX_KEPT
    assert "user999" in health._breakers
    for number in range(1000):
        for _ in range(3):
            health.fail(f"dead{number}")
    assert len(health._breakers) == MAX_KEPT
    assert [health.is_down(f"dead{number}") for number in (0, 999 - MAX_KEPT, 1000 - MAX_KEPT, 999)] == [
        False,
        False,
        True,
        True,
    ]


def test_a_route_opens_though_all_that_is_kept_is_down():
    health = Health()
    for number in range(MAX_KEPT):
        for _ in range(3):
            health.fail(f"dead{number}")
    for _ in range(3):
        health.fail("new")
    assert health.is_down("new")


def test_only_so_many_hosts_are_kept_and_those_with_the_fewest_tokens():
    health = Health()
    for _ in range(100):
        health.spend("stormy", providerkit.ServerError())
    for number in range(1000):
        health.spend(f"host{number}", providerkit.ServerError())
    assert (health.spend("stormy", providerkit.ServerError()), len(health._budgets)) == (0, MAX_KEPT)


def test_the_budget_is_that_of_the_design():
    budget = Budget()
    assert budget.tokens == 500
    assert (budget.spend(providerkit.ServerError()), budget.spend(providerkit.RateLimited())) == (14, 5)
    assert budget.tokens == 481
    assert budget.refill(14) is False
    assert budget.refill(14) is True
    assert budget.tokens == 500


def test_an_empty_budget_pays_for_nothing():
    budget = Budget(tokens=13)
    assert (budget.spend(providerkit.Disconnected()), budget.tokens) == (0, 13)
    assert budget.spend(providerkit.RateLimited()) == 5


def test_an_answer_without_a_retry_gives_back_one_token():
    health = Health()
    health.spend("host", providerkit.ServerError())
    for _ in range(13):
        health.succeed("route", "host")
    assert health._budgets["host"].tokens == 499
    health.succeed("route", "host")
    assert health._budgets == {}


def test_only_a_limit_that_nobody_chose_is_hurried():
    assert Timeouts(idle=5).hurried() == Timeouts(idle=5, first_event=10)
    assert Timeouts(first_event=60.0).hurried() == Timeouts(first_event=60.0)
    assert Timeouts(first_event=None).hurried().first_event is None
