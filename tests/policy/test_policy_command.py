"""The command line: `python -m eqx_cc.policy`."""

import csv
import importlib.util
import itertools as it
import json
import re
import shutil

import equinox as eqx
import jax.random as jr
import pytest
from eqx_cc.policy import (
    GraphPolicy,
    load,
    Markowitz,
    RulePolicy,
    save,
    Settings,
    start,
    start_evolution,
    task,
)
from eqx_cc.policy.__main__ import main
from eqx_cc.policy._command import setup, training
from eqx_cc.policy._command.metrics import keep_rows, least_count
from eqx_cc.policy._command.options import parsers


pytestmark = pytest.mark.usefixtures("quickly_compiled")

# In plain Python, so that nothing is compiled.
RULE = "train --agent evolution --batch 4 --largest 16 --graphs 4 --programs 1"
TASK = "train --agent evolution --task PropaneCombustion"


def _main(command, folder, **options):
    rest = it.chain(*((f"--{name}", str(value)) for name, value in options.items()))
    return main([*command.split(), "--folder", str(folder), *rest])


def _rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def _numbers(folder):
    return [int(row["iteration"]) for row in _rows(folder)]


def test_a_network(tmp_path, capsys):
    """Trains, writes what it did, and goes on with the network of the folder."""
    command = "train --batch 4 --largest 12 --every 1 --graphs 4"
    sizes = {"width": 8, "rounds": 1}
    assert _main(command, tmp_path, iterations=2, **sizes) == 0
    assert _main(command, tmp_path, iterations=3) == 0
    assert _numbers(tmp_path) == [1, 2, 3]
    assert all(float(row["held_out_ratio"]) > 0 for row in _rows(tmp_path))
    first, *_ = err = capsys.readouterr().err.splitlines()
    assert "compiling" in first
    assert sum("graphs never trained on" in line for line in err) == 3
    assert "</svg>" in (tmp_path / "learning.svg").read_text()
    assert isinstance(load(tmp_path), GraphPolicy)
    best = json.loads((tmp_path / "best.json").read_text())
    scores = [float(row["held_out_ratio"]) for row in _rows(tmp_path)]
    assert best["score"] == pytest.approx(min(scores))


@pytest.mark.parametrize("agent", ["ppo", "alphazero", "imitation"])
def test_agents_on_a_task(agent, tmp_path, capsys):
    """The counts are those of games on this graph alone."""
    if agent == "alphazero":
        pytest.importorskip("mctx")
    shutil.rmtree(tmp_path)
    command = f"train --agent {agent} --task PropaneCombustion --batch 2 --moves 2"
    options = {"simulations": 2, "width": 4, "rounds": 1, "iterations": 1}
    assert _main(command, tmp_path, **options) == 0
    [row] = _rows(tmp_path)
    least, known = int(row["best_count"]), task("PropaneCombustion").best_known
    assert known <= least <= int(row["greedy_count"]) < 200
    assert row["held_out_ratio"] == ""
    printed = capsys.readouterr().err
    assert "Markowitz takes 88 multiplications" in printed
    assert "AlphaZero 88, PPO 92; best known 88" in printed
    assert f"best {least} multiplications, greedy game {row['greedy_count']}" in printed


def test_a_rule_on_a_task(tmp_path):
    """And on from there: the best count is that of all iterations."""
    assert _main(TASK, tmp_path, iterations=3, every=2) == 0
    assert _main(TASK, tmp_path, iterations=5, every=2) == 0
    counts = [int(row["best_count"]) for row in _rows(tmp_path)]
    assert counts == sorted(counts, reverse=True) and counts[-1] >= 88
    assert [row["greedy_count"] != "" for row in _rows(tmp_path)] == [0, 1, 1, 1, 1]
    assert isinstance(load(tmp_path), RulePolicy)


def test_a_rule_beside_another(tmp_path):
    """The cheapest game of both counts: the same training loses less than alone."""
    first, alone, beside = (tmp_path / name for name in ("first", "alone", "beside"))
    assert _main(TASK, first, iterations=4) == 0
    assert _main(TASK, alone, iterations=1) == 0
    assert _main(TASK, beside, iterations=1, beside=first) == 0
    [[row], [other]] = _rows(beside), _rows(alone)
    assert float(row["policy_loss"]) <= float(other["policy_loss"])
    assert int(row["best_count"]) <= int(_rows(first)[-1]["greedy_count"])


def test_it_repeats_no_row(tmp_path):
    """A run was killed between checkpoints, in the middle of a row."""
    _main(TASK, tmp_path / "whole", iterations=5, every=2)
    _main(TASK, tmp_path / "killed", iterations=2, every=2)
    table = tmp_path / "killed" / "metrics.csv"
    two = table.read_text()
    table.write_text(two + two.splitlines()[-1].replace("2,", "3,", 1) + "\n4,0.1")
    _main(TASK, tmp_path / "killed", iterations=5, every=2)
    assert _numbers(tmp_path / "killed") == [1, 2, 3, 4, 5]
    columns = [
        [(row["ratio"], row["greedy_count"]) for row in _rows(tmp_path / name)]
        for name in ("whole", "killed")
    ]
    assert columns[0] == columns[1]
    policies = [load(tmp_path / name, last=True) for name in ("whole", "killed")]
    assert bool(eqx.tree_equal(*policies))


def test_rows(tmp_path):
    path = tmp_path / "metrics.csv"
    assert keep_rows(path, 3) == [] and not path.exists()
    path.write_text("iteration,best_count\n1,9\n2,7\n2,8\n3,")
    assert [row["best_count"] for row in keep_rows(path, 2)] == ["9", "8"]
    assert least_count(keep_rows(path, 9)) == 8.0
    assert least_count([]) == float("inf")


def _interrupted(iterations, count):
    """Ctrl-C after so many iterations."""

    def wrapped(*args):
        yield from it.islice(iterations(*args), count)
        raise KeyboardInterrupt

    return wrapped


@pytest.mark.parametrize("count", [0, 3])
def test_an_interrupt(count, tmp_path, monkeypatch, capsys):
    """A checkpoint of the last iteration, and where it is."""
    with monkeypatch.context() as patch:
        wrapped = _interrupted(training._iterations, count)
        patch.setattr(training, "_iterations", wrapped)
        assert _main(TASK, tmp_path, iterations=5, every=2) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    if count == 0:
        assert last == "Interrupted before the first iteration: nothing has changed."
        return
    assert last.startswith(
        f"Interrupted after 3 iterations. The checkpoint is in {tmp_path}"
    )
    assert _numbers(tmp_path) == [1, 2, 3]
    assert _main(TASK, tmp_path, iterations=4) == 0
    assert "going on after 3 iterations" in capsys.readouterr().err
    assert _numbers(tmp_path) == [1, 2, 3, 4]


def test_there_is_nothing_to_do(tmp_path, capsys):
    assert _main(RULE, tmp_path, iterations=1) == 0
    [row] = _rows(tmp_path)
    assert float(row["held_out_ratio"]) > 0 and row["best_count"] == ""
    assert _main(RULE, tmp_path, iterations=1) == 0
    assert "has had 1 iterations, of --iterations 1 in all" in capsys.readouterr().err


def _error(command, capsys):
    """The line that is printed, at once."""
    with pytest.raises(SystemExit) as exit:
        main(command)
    assert exit.value.code == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    "options, message",
    [
        ("--cost newton", "argument --cost: invalid choice: 'newton'"),
        ("--batch 0", "argument --batch: it must be a positive integer; got '0'"),
        ("--batch x", "argument --batch: it must be a positive integer; got 'x'"),
        ("--width -3", "argument --width: it must be a positive integer; got '-3'"),
        ("--width 6 --network transformer", "argument --width: `width` must be a mult"),
        ("--start nowhere", "argument --start: `folder` must be the folder of a train"),
        ("--smallest 50", "argument --smallest: it must be at most --largest"),
        ("--smallest 1 --largest 3", "argument --largest: it must be at least 4"),
        ("--rate nan", "argument --rate: it must be a positive number; got 'nan'"),
        ("--seed 100", "argument --seed: it must be an integer from 0 to 99"),
        ("--structured 2", "argument --structured: it must be between 0 and 1"),
        ("--task newton", "argument --task: invalid choice: 'newton'"),
        ("--agent evolution --network graph", "evolution trains a rule, not a `Graph"),
        ("--beside nowhere", "argument --beside: it is for `--agent evolution`"),
        (
            "--agent evolution --beside nowhere",
            "--beside: `folder` must be th",
        ),
    ],
)
def test_wrong_options(options, message, tmp_path, capsys):
    folder = tmp_path / "new"
    line = _error(["train", "--folder", str(folder), *options.split()], capsys)
    assert message in line
    assert not folder.exists()


@pytest.mark.parametrize(
    "options, message",
    [
        ("--width 8", "`GraphPolicy(width=4, rounds=1, sharpness=8.0)`; leave --width"),
        ("--network transformer", "leave --network out, or take another folder"),
        ("--agent evolution", "evolution trains a rule"),
        ("--cost flops", "give `--cost published`, or train in a new --folder"),
        ("--task random_g", "leave --task out, or train in a new --folder"),
    ],
)
def test_options_that_are_not_those_of_the_folder(options, message, tmp_path, capsys):
    policy = GraphPolicy(4, 1, key=jr.key(0))
    save(tmp_path, start(policy, Settings()), {"task": None, "cost": "published"})
    line = _error(["train", "--folder", str(tmp_path), *options.split()], capsys)
    assert message in line


def test_another_agent_in_the_folder(tmp_path, capsys):
    save(tmp_path, start_evolution(RulePolicy()))
    line = _error(["train", "--folder", str(tmp_path)], capsys)
    assert "must be the file of a training of `RulePolicy()` by an agent" in line


def test_broken_settings(tmp_path, capsys):
    save(tmp_path, start(RulePolicy(), Settings()))
    (tmp_path / "settings.json").write_text("{")
    line = _error(["train", "--folder", str(tmp_path)], capsys)
    assert "settings.json is broken; remove it" in line


def test_a_file_for_a_folder(tmp_path, capsys):
    (tmp_path / "file").touch()
    line = _error(["train", "--folder", str(tmp_path / "file")], capsys)
    assert "is a file, not a folder" in line


@pytest.mark.parametrize(
    "command, message",
    [
        ("train --folder none --agent alphazero", r'mctx.*pip install "eqx_cc\[pol'),
        ("train --folder none", "optax, which is not installed: `python -m pip insta"),
        ("evaluate --simulations 2", r'mctx.*pip install "eqx_cc\[policy\]"'),
    ],
)
def test_names_what_is_missing(command, message, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert re.search(message, _error(command.split(), capsys))


def test_start_with_the_best(tmp_path):
    """Not the last, of another folder; its sizes need not be said."""
    policies = [GraphPolicy(4, 1, key=jr.key(seed)) for seed in range(2)]
    for policy, score in zip(policies, (1.0, 2.0)):
        save(tmp_path / "old", start(policy, Settings()), score=score)
    command = f"train --folder {tmp_path / 'new'} --start {tmp_path / 'old'}"
    job = setup.job(parsers()[0].parse_args(command.split()))
    assert bool(eqx.tree_equal(job.begin().policy, policies[0]))


def test_help(capsys):
    """Each option has a line, and its default if it has one."""
    for command in parsers()[1].values():
        text = " ".join(command.format_help().split())
        assert "None" not in text and "SUPPRESS" not in text
        for action in command._actions:
            assert action.help
            if isinstance(action.default, int | float) and action.nargs != 0:
                assert f"(default: {action.default})" in text


def test_evaluate(tmp_path, capsys):
    """Beside simple orders, on random graphs and on tasks."""
    save(tmp_path, start(RulePolicy(), Settings()))
    assert main(["evaluate", str(tmp_path), "--sizes", "10-40", "--graphs", "3"]) == 0
    *_, heads, row = capsys.readouterr().out.splitlines()
    assert heads.split() == [
        *("vertices", "Markowitz", "forward", "reverse", "rule", "policy", "wins")
    ]
    size, one, _, _, rule, policy, *_ = row.split()
    assert (size, one) == ("10-40", "1.000") and rule == policy
    assert main(["evaluate", str(tmp_path), "--task", "RobotArm_6DOF"]) == 0
    *_, heads, row = capsys.readouterr().out.splitlines()
    assert heads.endswith("AlphaZero*       PPO*  best known")
    assert row.split()[:4] == ["RobotArm_6DOF", "221", "397", "301"]
    assert row.split()[-3:] == ["231", "247", "221"]


def test_evaluate_what_comes_with_the_package(capsys):
    assert main(["evaluate", "--task", "PropaneCombustion", "--cost", "flops"]) == 0
    first, *_, heads, row = capsys.readouterr().out.splitlines()
    assert first.startswith("pretrained: GraphPolicy(width=48, rounds=4")
    assert heads.endswith("pretrained") and len(row.split()) == 6


def test_evaluate_with_search(tmp_path, capsys):
    save(tmp_path, start(Markowitz(), Settings()))
    command = f"evaluate {tmp_path} --task PropaneCombustion --beam 2 --last"
    assert main(command.split()) == 0
    assert "Markowitz()" in capsys.readouterr().out


def test_evaluate_nothing(tmp_path, capsys):
    line = _error(["evaluate", str(tmp_path / "nowhere")], capsys)
    assert "there is no '" in line
