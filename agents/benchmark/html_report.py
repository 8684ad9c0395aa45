"""The report of a benchmark as one HTML file that needs no other: pictures are within it."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from agents.benchmark.report import figures_of, schedule_path
from agents.benchmark.report_tables import TextTable, front_table, pick_table, tables_of
from agents.benchmark.summary import agents_of
from agents.benchmark.words import (
    WARNINGS,
    data_line,
    failures,
    machine_line,
    method_lines,
    verdict,
    weights_line,
)
from agents.config import ExperimentSettings
from orchestai_env.reward import RewardWeights

_TEMPLATE = Path(__file__).with_name("report.html.j2")


@dataclasses.dataclass(frozen=True)
class _Figure:
    caption: str
    source: str
    """data: address with the picture itself."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Section:
    """What the page shows of one profile."""

    profile: str
    anchor: str
    weights: str
    warning: str | None
    verdict: str
    failures: Mapping[str, str]
    tables: list[TextTable]
    figures: list[_Figure]
    picks: list[TextTable]
    schedules: list[_Figure]

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Titles and anchors of its parts."""
        parts = [("Tables", "tables"), ("Figures", "figures"), ("Workers called", "picks")]
        if self.schedules:
            parts.append(("A typical episode", "episodes"))
        return [(title, f"{self.anchor}-{part}") for title, part in parts]


def write_html(
    path: Path,
    results: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, RewardWeights],
    config: ExperimentSettings,
    all_profiles: Mapping[str, Any] | None = None,
) -> None:
    """Writes the page, with the pictures that lie beside it; arguments as `write_report`."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    page = template.render(
        data=data_line(config),
        sections=[
            _section(index, profile, found, weights_line(weights[profile]), path.parent)
            for index, (profile, found) in enumerate(results.items())
        ],
        fronts=front_table(all_profiles) if all_profiles else None,
        method=method_lines(config),
        machine=machine_line(),
    )
    path.write_text(page, encoding="utf-8")


def _section(
    index: int, profile: str, results: Mapping[str, Any], weights: str, folder: Path
) -> _Section:
    names = agents_of(results)
    drawn = [(name, schedule_path(folder, profile, name)) for name in names]
    return _Section(
        profile=profile,
        anchor=f"profile{index}",
        weights=weights,
        warning=WARNINGS.get(profile),
        verdict=verdict(results),
        failures=failures(results),
        tables=tables_of(results),
        figures=[_figure(text, picture) for text, picture in figures_of(folder, profile)],
        picks=[pick_table(name, results) for name in names],
        schedules=[_figure(name, picture) for name, picture in drawn if picture.is_file()],
    )


def _figure(caption: str, path: Path) -> _Figure:
    content = base64.b64encode(path.read_bytes()).decode("ascii")
    return _Figure(caption, f"data:image/png;base64,{content}")
