"""Comparison and its pages: every agent in them, failures apart, finished work taken up."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import html.parser
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest

from agents import tune_tables
from agents.benchmark import comparison, workbench
from agents.benchmark.comparison import evaluate_agents
from agents.benchmark.finished import FILE
from agents.benchmark.publish import AgentsFailedError, compare_and_publish
from agents.benchmark.workbench import ComparisonPlan
from agents.config import load_experiment
from agents.phase2_callbacks import CURVE_COLUMNS
from orchestai_env.errors import ConfigError
from tests.tiny_config import write_config

BASELINES = ("random", "cheapest", "escalation", "hindsight", "oracle")
GOOD = "mine=tests.agents.foreign:dearest_of_seed"
BAD = "broken=tests.agents.foreign:no_agent"


@contextlib.contextmanager
def in_threads(
    _engine: str, num_jobs: int, start: Callable[..., None], args: tuple[Any, ...]
) -> Iterator[Executor]:
    """Stands in for open_executor, without the imports of new processes."""
    with ThreadPoolExecutor(num_jobs, "compare", start, args) as pool:
        yield pool


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "open_executor", in_threads)
    monkeypatch.setattr(comparison, "_in_process", None)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of two profiles, tuned tables of two seeds, and a learning curve."""
    folder = tmp_path_factory.mktemp("publish")
    profiles = {"balanced": "balanced.yaml", "literal": "balanced.yaml"}
    config = write_config(
        folder,
        benchmark={
            "profiles": profiles,
            "num_seeds": 2,
            "agents": list(BASELINES),
            "trained": {},
            "bound_workflows": 4,
        },
    )
    for seed in (0, 1):
        arguments = ["--config", str(config), "--profile", "balanced", "--seed", str(seed)]
        run_dir = folder / "balanced" / f"seed{seed}"
        tune_tables.main([*arguments, "--output_dir", str(run_dir), "--quiet"])
        (run_dir / "ppo").mkdir()
        with (run_dir / "ppo" / "curve.csv").open("w", newline="") as file:
            csv.writer(file).writerows([CURVE_COLUMNS, *([k] * len(CURVE_COLUMNS) for k in "123")])
    return folder


def plans(folder: Path, *foreign: str) -> list[ComparisonPlan]:
    config = load_experiment(folder / "config.yaml")
    return [
        ComparisonPlan(
            config_path=folder / "config.yaml",
            config=config,
            data=None,
            profile=profile,
            run_dirs=tuple(folder / "balanced" / f"seed{seed}" for seed in (0, 1)),
            seeds=(0, 1),
            foreign=foreign,
        )
        for profile in config.benchmark.profiles
    ]


@pytest.fixture(scope="module")
def published(prepared: Path) -> Path:
    output = prepared / "output"
    output.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison, "open_executor", in_threads)
        with pytest.raises(AgentsFailedError, match=r"broken \(balanced\): .*no agent today"):
            compare_and_publish(plans(prepared, GOOD, BAD), output)
    return output


def summary_of(output: Path) -> dict[str, Any]:
    data = json.loads((output / "summary.json").read_text())
    assert isinstance(data, dict)
    return data


def test_failed_agent_is_named_and_the_others_keep_their_results(published: Path) -> None:
    summary = summary_of(published)

    assert set(summary["broken"]) == {"error"}
    assert "no agent today" in summary["broken"]["error"]
    assert "\n" not in summary["broken"]["error"]
    assert "broken" not in summary["paired"]
    for name in (*BASELINES, "mine"):
        assert np.isfinite(summary[name]["test"]["return_mean"])


def test_summary_has_the_statistics_of_every_agent(published: Path) -> None:
    summary = summary_of(published)

    for results in (summary, summary["profiles"]["literal"]):
        for name in ("random", "cheapest", "escalation", "hindsight", "mine"):
            found, test = results[name], results[name]["test"]
            for ends in (test["ci95"], test["iqm_ci95"], found["train_minus_test"]["ci95"]):
                assert ends[0] <= ends[1]
            terms = [test[f"reward_{term}"] for term in ("success", "cost", "latency", "shaping")]
            assert sum(terms) == pytest.approx(test["return_mean"])
            assert 0 <= test["probability_of_improvement"]["mean"] <= 1
            assert test["masked_actions"] == 0
            assert test["picks"]
    assert summary["escalation"]["test"]["gap_closed"]["mean"] == 0
    assert summary["hindsight"]["test"]["gap_closed"]["mean"] == 1
    assert summary["escalation"]["train_minus_test"]["difference_ci95"] == [0, 0]


def test_paired_differences_are_those_of_the_means(published: Path) -> None:
    summary = summary_of(published)

    for name in ("random", "hindsight", "mine"):
        found = summary["paired"][name]
        expected = summary[name]["test"]["return_mean"]
        expected -= summary["escalation"]["test"]["return_mean"]
        assert found["difference_mean"] == pytest.approx(expected)
        assert 1 / 4 <= found["bootstrap_p"] <= 1  # of three replicates


def test_slow_agent_has_no_interval_and_is_compared_on_its_own_workflows(published: Path) -> None:
    summary = summary_of(published)

    oracle = summary["oracle"]["test"]
    assert "ci95" not in oracle and "train" not in summary["oracle"]
    assert summary["paired"]["oracle"]["ci95"] is None
    assert summary["paired"]["oracle"]["difference_mean"] >= 0
    assert oracle["gap_closed"]["mean"] is None or oracle["gap_closed"]["mean"] > 0


def test_fronts_leave_bounds_out_and_grow_over_profiles(published: Path) -> None:
    summary = summary_of(published)

    front, over_all = summary["front"], summary["all_profiles"]
    assert {point["agent"] for point in front["points"]} == {
        "random",
        "cheapest",
        "escalation",
        "mine",
    }
    assert len(over_all["points"]) == 2 * len(front["points"])
    alone = [of["hypervolume"] for of in front["of_agents"].values()]
    assert front["hypervolume"] >= max(alone)


class Page(html.parser.HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"

    def values(self, name: str) -> list[str]:
        return [value for _, attrs in self.tags if (value := attrs.get(name))]


def test_html_report_is_one_file_with_every_agent(published: Path) -> None:
    page = Page()
    page.feed((published / "report.html").read_text())

    assert all(source.startswith("data:image/png;base64,") for source in page.values("src"))
    assert all(link.startswith("#") for link in page.values("href"))
    assert set(page.values("href")) <= {f"#{anchor}" for anchor in page.values("id")}
    assert not {"link", "script", "iframe"} & {tag for tag, _ in page.tags}
    assert len([tag for tag, _ in page.tags if tag == "img"]) >= 2 * (5 + len(BASELINES))
    for name in (*BASELINES, "mine", "broken"):
        assert f"\n{name}\n" in page.text
    assert "no agent today <&>" in page.text  # escaped on the way
    assert "highest mean return on test queries" in page.text
    assert "Warning: the literal weights" in page.text


def test_markdown_report_shows_pictures_that_are_there(published: Path) -> None:
    text = (published / "report.md").read_text()

    pictures = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert len(pictures) >= 2 * (5 + len(BASELINES))
    for picture in pictures:
        pixels = matplotlib.image.imread(published / picture)
        assert min(pixels.shape[:2]) > 150
        assert len(np.unique(pixels[::5, ::5].reshape(-1, pixels.shape[2]), axis=0)) > 5
    for name in (*BASELINES, "mine", "broken"):
        assert f"| {name} |" in text


class Counter:
    """Counts the evaluations that a comparison really makes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        attempt = workbench.Workbench._attempt

        def counted(*args: Any) -> Any:
            self.count += 1
            return attempt(*args)

        monkeypatch.setattr(workbench.Workbench, "_attempt", counted)


def copy_of(plan: ComparisonPlan, folder: Path) -> Path:
    """Copies what was finished, so that a test may spoil it."""
    for run_dir in plan.run_dirs:
        to = folder / run_dir.name
        to.mkdir()
        (to / "tables.json").write_bytes((run_dir / "tables.json").read_bytes())
    return folder


def alone(folder: Path, prepared: Path) -> ComparisonPlan:
    """A plan with run folders of its own."""
    plan = plans(prepared)[0]
    copy_of(plan, folder)
    return dataclasses.replace(plan, run_dirs=(folder / "seed0", folder / "seed1"))


def test_repeated_call_evaluates_nothing_again(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = alone(tmp_path, prepared)
    first = evaluate_agents(plan)
    counter = Counter(monkeypatch)

    again = evaluate_agents(plan)

    assert counter.count == 0
    assert again.points == first.points
    assert (again.runs("random") == first.runs("random")).all()


def test_killed_comparison_goes_on_from_its_last_whole_line(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = alone(tmp_path, prepared)
    first = evaluate_agents(plan)
    kept = tmp_path / FILE
    lines = kept.read_text().splitlines(keepends=True)
    kept.write_text("".join(lines[:-4]) + lines[-4][:30])  # cut amid a line
    counter = Counter(monkeypatch)

    again = evaluate_agents(plan)

    assert counter.count == 4
    assert all((again.runs(n) == first.runs(n)).all() for n in first.replicates)
    assert len(kept.read_text().splitlines()) == len(lines) + 1


def test_other_tables_are_evaluated_again(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = alone(tmp_path, prepared)
    evaluate_agents(plan)
    path = tmp_path / "seed0" / "tables.json"
    path.write_text(path.read_text() + "\n")
    counter = Counter(monkeypatch)

    evaluate_agents(plan)

    assert counter.count > 0


def test_changed_code_beside_a_factory_is_evaluated_again(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its module lies somewhere else than the run, as an installed package does."""
    code = tmp_path / "code"
    code.mkdir()
    (code / "their_agents.py").write_text("from tests.agents.foreign import dearest_of_seed\n")
    (code / "their_rule.py").write_text("RULE = 1\n")
    monkeypatch.syspath_prepend(code)
    plan = alone(tmp_path, prepared)
    plan = dataclasses.replace(plan, foreign=("theirs=their_agents:dearest_of_seed",))
    evaluate_agents(plan)
    counter = Counter(monkeypatch)
    evaluate_agents(plan)
    assert counter.count == 0

    (code / "their_rule.py").write_text("RULE = 2\n")
    evaluate_agents(plan)

    assert counter.count == 2 + 2 * plan.config.benchmark.replicates  # of two splits, theirs alone


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nothing", "agent theirs: expected an object with `predict`, .* got None"),
        ("quits", r"SystemExit: usage: quits \(foreign\.py, line \d+\)"),
    ],
)
def test_factory_without_an_agent_fails_alone(
    prepared: Path, tmp_path: Path, factory: str, message: str
) -> None:
    plan = alone(tmp_path, prepared)
    plan = dataclasses.replace(plan, foreign=(f"theirs=tests.agents.foreign:{factory}",))

    found = evaluate_agents(plan)

    assert re.search(message, found.errors["theirs"])
    assert set(found.errors) == {"theirs"}


def test_replicates_need_a_workflow_per_seed(prepared: Path) -> None:
    plan = plans(prepared)[0]
    fewer = plan.config.benchmark.model_copy(update={"replicate_workflows": 1})
    config = plan.config.model_copy(update={"benchmark": fewer})

    with pytest.raises(ConfigError, match=r"replicate_workflows: expected at least one .* 2 seeds"):
        evaluate_agents(dataclasses.replace(plan, config=config))
