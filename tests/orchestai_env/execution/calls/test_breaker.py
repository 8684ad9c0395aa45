from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from orchestai_env.errors import ConfigError
from orchestai_env.execution.calls.breaker import BreakerSettings, CircuitBreaker
from orchestai_env.settings import parse_settings

SETTINGS = BreakerSettings(faults=3, recovery_s=10.0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def state(breaker: CircuitBreaker) -> str:
    return breaker.state


def entered(breaker: CircuitBreaker) -> int:
    ticket = breaker.enter()
    assert ticket is not None
    return ticket


def opened() -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    breaker = CircuitBreaker(SETTINGS, clock)
    for _ in range(3):
        breaker.failed(entered(breaker))
    assert state(breaker) == "open"
    return breaker, clock


def test_breaker_opens_after_faults_in_a_row():
    breaker = CircuitBreaker(SETTINGS, Clock())
    for report in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed):
        report(entered(breaker))
    breaker.failed(entered(breaker))
    assert state(breaker) == "closed"
    breaker.failed(entered(breaker))
    assert state(breaker) == "open"
    assert breaker.refuses()
    assert breaker.enter() is None


def test_open_breaker_lets_one_probe_through_once_it_is_time():
    breaker, clock = opened()
    clock.now_s = 9.9
    assert breaker.enter() is None
    clock.now_s = 10.0
    assert not breaker.refuses()
    assert breaker.enter() is not None
    assert state(breaker) == "half_open"
    assert breaker.enter() is None


def test_open_breaker_recovers_on_time_at_any_reading_of_the_clock():
    breaker, clock = opened()
    for i in range(1000):
        clock.now_s += SETTINGS.recovery_s
        probe = entered(breaker)
        clock.now_s += i / 7
        breaker.failed(probe)


def test_probe_that_succeeds_closes_the_breaker():
    breaker, clock = opened()
    clock.now_s = 10.0
    breaker.succeeded(entered(breaker))
    assert state(breaker) == "closed"
    breaker.failed(entered(breaker))
    assert state(breaker) == "closed"  # it counts from 0 again


def test_probe_that_fails_opens_the_breaker_for_as_long_again():
    breaker, clock = opened()
    clock.now_s = 10.0
    breaker.failed(entered(breaker))
    clock.now_s = 19.9
    assert breaker.enter() is None
    clock.now_s = 20.0
    assert breaker.enter() is not None


def test_probe_that_is_abandoned_makes_room_for_the_next():
    breaker, clock = opened()
    clock.now_s = 10.0
    breaker.abandoned(entered(breaker))
    assert breaker.enter() is not None


def test_tries_that_began_before_an_outage_do_not_change_what_came_after():
    clock = Clock()
    breaker = CircuitBreaker(SETTINGS, clock)
    early = [entered(breaker) for _ in range(6)]
    for ticket in early[:3]:
        breaker.failed(ticket)
    breaker.succeeded(early[3])
    assert state(breaker) == "open"
    clock.now_s = 10.0
    probe = entered(breaker)
    breaker.failed(early[4])
    breaker.abandoned(early[5])
    assert state(breaker) == "half_open"
    breaker.succeeded(probe)
    assert state(breaker) == "closed"


def test_breaker_settings_refuse_to_never_open():
    with pytest.raises(ConfigError, match=r"here: faults: .* greater than or equal to 1; got 0"):
        parse_settings({"faults": 0}, BreakerSettings, where="here")


class BreakerMachine(RuleBasedStateMachine):
    """Any order of tries, ends and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker(SETTINGS, self.clock)
        self.tickets: list[int] = []

    @rule()
    def enter(self):
        refuses, before = self.breaker.refuses(), state(self.breaker)
        ticket = self.breaker.enter()
        assert (ticket is None) == refuses
        if ticket is not None:
            self.tickets.append(ticket)
            assert state(self.breaker) == ("closed" if before == "closed" else "half_open")

    @precondition(lambda self: self.tickets)
    @rule(data=st.data(), how=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end(self, data, how):
        i = data.draw(st.integers(0, len(self.tickets) - 1), label="which")
        getattr(self.breaker, how)(self.tickets.pop(i))

    @rule(seconds=st.floats(min_value=0, max_value=12))
    def wait(self, seconds):
        self.clock.now_s += seconds

    @invariant()
    def a_breaker_never_stays_shut(self):
        """Once all tries have ended and it has waited, one may go."""
        if not self.tickets:
            self.clock.now_s += 10.0
            assert not self.breaker.refuses()


TestBreakerMachine = BreakerMachine.TestCase
