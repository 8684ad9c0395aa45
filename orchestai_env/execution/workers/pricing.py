"""What a call costs: tokens times prices, exactly."""

from __future__ import annotations

from decimal import Decimal

from orchestai_env.execution.calls.call_records import Prices
from orchestai_env.execution.workers.prompt import prompt_text
from orchestai_env.execution.workers.worker import CallRequest, Usage
from orchestai_env.execution.workers.worker_settings import LivePool, LiveWorkerSettings

_TEMPLATE_TOKENS = 256
"""Tokens that a chat template may add to a prompt; assumed, those of Llama 3 and Qwen 2.5 add fewer
than 50."""


def cost_usd(settings: LiveWorkerSettings, usage: Usage) -> float:
    """Returns the cost of one call.

    cost = ((input - cached) * input price + cached * cached price
            + (output - reasoning) * output price + reasoning * reasoning price) / 1,000,000

    with prices per million tokens; a cached price of None is the input price, a reasoning price of
    None the output price. It is computed in decimals, prices as they were written, and rounded
    once, to the nearest float. A count below 0 is taken as 0, a part beyond its whole as the whole,
    so no cost is negative.

    Args:
        settings: prices of the worker that was called.
        usage: tokens of the call.
    Returns:
        The cost [USD], >= 0.
    """
    sent, made = max(0, usage.input_tokens), max(0, usage.output_tokens)
    cached = min(max(0, usage.cached_tokens), sent)
    reasoning = min(max(0, usage.reasoning_tokens), made)
    parts = (
        (sent - cached, settings.input_usd_per_mtok),
        (cached, settings.cached_price),
        (made - reasoning, settings.output_usd_per_mtok),
        (reasoning, settings.reasoning_price),
    )
    total = sum((count * Decimal(repr(price)) for count, price in parts), Decimal(0))
    return float(total.scaleb(-6))


def upper_cost_usd(settings: LiveWorkerSettings, request: CallRequest) -> float:
    """Returns what one try of a call costs at most.

    A token is at least one byte of the prompt, so there are no more tokens than bytes, besides
    those of a chat template; the answer is as long as it may be, all at the higher price.

    Args:
        settings: of the worker that is to be called.
        request: of the call.
    Returns:
        The cost [USD], >= 0; it holds where the worker keeps to max_output_tokens.
    """
    sent = len(prompt_text(request).encode()) + _TEMPLATE_TOKENS
    made = settings.max_output_tokens
    is_cached = settings.cached_price > settings.input_usd_per_mtok
    is_reasoning = settings.reasoning_price > settings.output_usd_per_mtok
    usage = Usage(
        input_tokens=sent,
        output_tokens=made,
        cached_tokens=sent if is_cached else 0,
        reasoning_tokens=made if is_reasoning else 0,
    )
    return cost_usd(settings, usage)


def prices_of(pool: LivePool) -> Prices:
    """Returns what calls of a pool's workers cost, by name of the worker."""
    by_name = {spec.name: spec for spec in pool.specs}
    return Prices(
        cost_usd=lambda name, usage: cost_usd(by_name[name], usage),
        upper_cost_usd=lambda name, request: upper_cost_usd(by_name[name], request),
    )
