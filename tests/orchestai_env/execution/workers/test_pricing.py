"""The cost of a call."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from orchestai_env.execution.workers.pricing import cost_usd, prices_of
from orchestai_env.execution.workers.prompt import prompt_text
from orchestai_env.execution.workers.worker import CallRequest, Usage
from orchestai_env.execution.workers.worker_settings import LivePool, LiveWorkerSettings

COUNTS = st.integers(0, 10_000_000)
PRICES = st.decimals(0, 1000, places=4, allow_nan=False).map(float)


def priced(**prices: float | None) -> LiveWorkerSettings:
    return LiveWorkerSettings.model_validate({"name": "w", "model": "m", **prices})


def test_cost_counts_cached_and_reasoning_tokens_at_their_own_prices() -> None:
    settings = priced(
        input_usd_per_mtok=2.5,
        cached_usd_per_mtok=1.25,
        output_usd_per_mtok=10.0,
        reasoning_usd_per_mtok=20.0,
    )
    usage = Usage(input_tokens=1000, cached_tokens=400, output_tokens=300, reasoning_tokens=100)
    # 600 * 2.5 + 400 * 1.25 + 200 * 10 + 100 * 20 = 6000 USD per million.
    assert cost_usd(settings, usage) == 0.006


def test_cost_takes_input_and_output_prices_where_no_others_are_set() -> None:
    settings = priced(input_usd_per_mtok=0.15, output_usd_per_mtok=0.6)
    plain = Usage(input_tokens=7, output_tokens=3)
    parts = Usage(input_tokens=7, output_tokens=3, cached_tokens=5, reasoning_tokens=2)
    assert cost_usd(settings, plain) == cost_usd(settings, parts) == 0.00000285


def test_cost_of_a_free_worker_is_zero() -> None:
    assert cost_usd(priced(), Usage(input_tokens=9, output_tokens=9)) == 0.0


@given(COUNTS, COUNTS, COUNTS, COUNTS, PRICES, PRICES, PRICES, PRICES)
def test_cost_is_the_nearest_float_to_the_exact_one(
    fresh: int, cached: int, shown: int, reasoning: int, a: float, b: float, c: float, d: float
) -> None:
    settings = priced(
        input_usd_per_mtok=a, cached_usd_per_mtok=b, output_usd_per_mtok=c, reasoning_usd_per_mtok=d
    )
    usage = Usage(
        input_tokens=fresh + cached,
        cached_tokens=cached,
        output_tokens=shown + reasoning,
        reasoning_tokens=reasoning,
    )
    pairs = zip((fresh, cached, shown, reasoning), (a, b, c, d), strict=True)
    exact = sum((count * Fraction(Decimal(str(price))) for count, price in pairs), Fraction(0))
    assert cost_usd(settings, usage) == float(exact / 1_000_000)


REQUESTS = st.builds(
    CallRequest,
    instruction=st.text(max_size=30),
    subtask=st.text(max_size=30),
    task_type=st.just("math"),
    inputs=st.lists(st.text(max_size=30), max_size=2).map(tuple),
)


@given(REQUESTS, PRICES, PRICES, PRICES, PRICES, st.data())
def test_upper_cost_is_never_below_the_cost(
    request: CallRequest, a: float, b: float, c: float, d: float, data: st.DataObject
) -> None:
    settings = priced(
        input_usd_per_mtok=a, cached_usd_per_mtok=b, output_usd_per_mtok=c, reasoning_usd_per_mtok=d
    )
    sent = data.draw(st.integers(0, len(prompt_text(request).encode())))
    made = data.draw(st.integers(0, settings.max_output_tokens))
    usage = Usage(
        input_tokens=sent,
        output_tokens=made,
        cached_tokens=data.draw(st.integers(0, sent)),
        reasoning_tokens=data.draw(st.integers(0, made)),
    )
    prices = prices_of(LivePool(specs=(settings,)))
    assert prices.cost_usd("w", usage) == cost_usd(settings, usage)
    assert prices.cost_usd("w", usage) <= prices.upper_cost_usd("w", request)


BROKEN = st.integers(-(10**9), 10**9)


@given(BROKEN, BROKEN, BROKEN, BROKEN)
def test_cost_is_never_negative(sent: int, made: int, cached: int, reasoning: int) -> None:
    settings = priced(input_usd_per_mtok=3.0, cached_usd_per_mtok=0.3, output_usd_per_mtok=15.0)
    usage = Usage(
        input_tokens=sent, output_tokens=made, cached_tokens=cached, reasoning_tokens=reasoning
    )
    assert 0.0 <= cost_usd(settings, usage) <= 18_000.0
