"""Settings of `python -m agents.benchmark.preference_front`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import pydantic

from orchestai_env.rules import Spread

_Factor = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
_ROUNDING = 1.0 + 1e-9  # 1 / 3 written out may lie a little outside of 1/3..3


class FrontSettings(pydantic.BaseModel):
    """One policy for every trade-off, against one policy for each."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    spread: Spread = 4.0
    """training.variation.preference_spread of the one policy."""
    factors: tuple[tuple[_Factor, _Factor], ...] = (
        (0.25, 1.0),
        (0.5, 1.0),
        (1.0, 1.0),
        (2.0, 1.0),
        (4.0, 1.0),
    )
    """Preferences: factors of the profile's cost and latency weight, in 1/spread..spread. Each
    gets a policy of its own to compare with."""
    timesteps: Annotated[int, pydantic.Field(ge=1)] | None = None
    """Steps of each training; null = those of training.phase2_rl."""
    start: Literal["scratch", "bc"] = "scratch"
    """bc: each policy is cloned first, under the weights that it is trained under."""

    @pydantic.model_validator(mode="after")
    def _factors_are_in_range(self) -> Self:
        if len(set(self.factors)) < max(2, len(self.factors)):
            raise ValueError(
                f"factors: expected at least two pairs, none twice, got {list(self.factors)}"
            )
        most = self.spread * _ROUNDING
        for factor in (value for pair in self.factors for value in pair):
            if not 1.0 / most <= factor <= most:
                raise ValueError(
                    f"factors: expected values in {1.0 / self.spread:g}..{self.spread:g}, where "
                    f"the one policy is trained, got {factor:g}; raise spread or leave it out"
                )
        return self
