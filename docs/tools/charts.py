"""Draws the charts of measurements, from the files in `docs/benchmarks`:

python docs/tools/charts.py
"""

import json
import pathlib
import sys
from collections.abc import Sequence


ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import style  # noqa: E402
from benchmarks.reports import (  # noqa: E402
    headline,
    pages,
    policy_tables,
    rule_tables,
    solver_tables,
)


ROBOT, _ = headline.ROBOTS
BANDS = headline.BRUSSELATOR, "loop", "eqx_cc structured"


def _solves() -> dict[str, float]:
    """The factors of whole solves against diffrax as released, by problem."""
    rows = json.loads((pages.FOLDER / "solvers.json").read_text())
    problems = dict.fromkeys(row["problem"] for row in rows)
    factors = {name: solver_tables.speed_up(rows, name) for name in problems}
    return {name: factor for name, factor in factors.items() if factor is not None}


def speed() -> None:
    """The chart of the first page."""
    solves = _solves()
    _bars(
        "speed",
        [
            ("bands of the Jacobian of a Brusselator", pages.speed_up(*BANDS)),
            ("stiff solve: Brusselator, 128 states", solves["Brusselator 128"]),
            ("Jacobian of a robot arm", pages.speed_up(headline.ARM, "loop")),
            ("Jacobian of inverse dynamics", pages.speed_up(ROBOT, "loop")),
            ("stiff solve: HIRES, 8 species", solves["HIRES"]),
        ],
        "times faster than the better of jax.jacfwd and jax.jacrev,\n"
        "or than diffrax 0.7.2 (solves)",
    )


def solvers() -> None:
    factors = sorted(_solves().items(), key=lambda item: -item[1])
    _bars("solves", factors, "times faster than diffrax 0.7.2")


def work_precision() -> None:
    """The time of solves against their errors."""
    rows = json.loads((pages.FOLDER / "work_precision.json").read_text())
    problems = list(dict.fromkeys(row["problem"] for row in rows))
    figure, panels = style.new(5.2, 7, rows=len(problems))
    for axes, problem in zip(panels, problems):
        for contestant, label, colour, marker in (
            ("SciPy Radau", "SciPy, Radau", style.GREY, "s-"),
            ("SciPy BDF", "SciPy, BDF", style.GREY, "s--"),
            ("diffrax", "diffrax 0.7.2", style.ORANGE, "o-"),
            ("repaired", "diffrax, corrected", style.ORANGE, "o--"),
            ("CCChord", "CCChord", style.BLUE, "o-"),
        ):
            points = [
                (row["error"], row["seconds"])
                for row in rows
                if (row["problem"], row["contestant"]) == (problem, contestant)
                and row["error"] is not None
            ]
            axes.loglog(*zip(*points), marker, color=colour, label=label, ms=4)
        axes.invert_xaxis()
        axes.set(title=problem, ylabel="seconds")
    panels[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.1), ncols=2)
    panels[-1].set_xlabel("relative error at the end")
    style.save(figure, "work_precision")


def jacobians() -> None:
    """Every case whose Jacobian is dense."""
    cases = [(case, "loop") for case in (headline.ARM, *headline.SCALAR)]
    cases += [(case, "loop") for case in (*headline.ROBOTS, "MLP 4-16-16-4")]
    cases += [(case, "call") for case in headline.BLOCKS[4][0] + headline.BOTTLENECKS]
    bars = [(case, pages.speed_up(case, setting)) for case, setting in cases]
    bars.sort(key=lambda bar: -bar[1])
    label = "times faster than the better of jax.jacfwd and jax.jacrev"
    _bars("jacobians", bars, label)


def policy_time() -> None:
    """Multiplications against seconds, for graphs of several sizes."""
    rows = json.loads((pages.FOLDER / "policy.json").read_text())["rows"]
    curves = [row for row in rows if row["part"] == "curve"]
    groups = list(dict.fromkeys(row["group"] for row in curves))
    figure, panels = style.new(5.2, 2.4 * len(groups), rows=len(groups), sharex=True)
    for axes, group in zip(panels, groups):
        members = [row for row in curves if row["group"] == group]
        for contestant, colour, line in (
            (rule_tables.GUIDED, style.BLUE, "-"),
            (rule_tables.PLAIN, style.ORANGE, "--"),
            ("randomised Markowitz", style.GREY, ":"),
        ):
            curve = policy_tables.mean_curve(members, contestant)
            axes.plot(*curve, line, color=colour, label=contestant)
        present = {row["contestant"] for row in members}
        for game, mark in (("rule", "o"), ("policy, greedy", "s")):
            if game in present:
                seconds = policy_tables.median_seconds(members, game)
                ratio = policy_tables.ratios(members, game).mean()
                axes.plot([seconds], [ratio], mark, color=style.GREEN, label=game)
        axes.set(xscale="log", title=f"{group} vertices")
    panels[0].legend()
    panels[len(groups) // 2].set_ylabel("relative to Markowitz")
    panels[-1].set_xlabel("seconds")
    style.save(figure, "policy")


def policy_training() -> None:
    """The learning curve of the policy of the package."""
    text = (pages.FOLDER / "policy_training.json").read_text()
    games, held_out = (json.loads(text)[key] for key in ("games", "held_out"))
    figure, axes = style.new(5.2, 3.2)
    numbers = range(1, len(games) + 1)
    axes.plot(numbers, games, ".", color=style.GREY, ms=3, label="games of training")
    axes.plot(*zip(*held_out), color=style.BLUE, label="graphs never trained on")
    axes.set(xlabel="iteration", ylabel="relative to Markowitz")
    axes.legend(markerscale=3)
    style.save(figure, "policy_training")


def _bars(name: str, bars: Sequence[tuple[str, float]], label: str) -> None:
    """Bars from 1, each below its name, so that a phone has room for both."""
    figure, axes = style.new(5.2, 0.55 * len(bars) + 0.9)
    for i, (words, factor) in enumerate(bars):
        colour = style.BLUE if factor > 1 else style.GREY
        axes.barh(i, factor - 1, left=1, height=0.36, color=colour)
        axes.text(1, i - 0.34, f" {words}", ha="left", va="center", color=style.INK)
        text = f" {factor:.2g}" if factor < 99 else f" {factor:.0f}"
        end = max(factor, 1)
        axes.text(end, i, text, ha="left", va="center", color=style.INK)
    axes.set_xscale("log")
    axes.set_xlim(0.7, 2.2 * max(factor for _, factor in bars))
    axes.set_ylim(len(bars) - 0.6, -0.7)
    ticks = [t for t in (1, 10, 100, 1000) if t < 2.2 * max(f for _, f in bars)]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    style.save(figure, name)


if __name__ == "__main__":
    speed()
    solvers()
    work_precision()
    jacobians()
    policy_time()
    policy_training()
