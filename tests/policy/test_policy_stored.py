"""Policies and checkpoints in folders; the published tasks."""

import inspect
import json
import math
import pathlib

import equinox as eqx
import eqx_cc.policy
import helpers
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from eqx_cc import Forward, MinimalMarkowitz, Published, Reverse
from eqx_cc._orders.baseline import order_cost
from eqx_cc.policy import (
    AbstractPolicy,
    EdgeTransformer,
    GraphPolicy,
    load,
    Markowitz,
    new_game,
    PolicyAnnealing,
    PolicyOrdering,
    pretrained,
    resume,
    RulePolicy,
    save,
    Settings,
    start,
    start_evolution,
    task,
)
from eqx_cc.policy._ordering import hashable
from jax.core import Tracer
from jaxtyping import Array, Float


pytestmark = pytest.mark.usefixtures("quickly_compiled")

SETTINGS = Settings(batch=4, largest=12)


class Deepest(AbstractPolicy):
    """A policy as users write them."""

    weights: Float[Array, " n"]
    scale: float = 1.0

    def __call__(self, game, state):
        logits = -self.scale * game.depth * jnp.sum(self.weights)
        return jnp.where(state.remaining, logits, -jnp.inf), jnp.zeros(())


def _saved(folder, policy):
    save(folder, start(policy, SETTINGS))
    return folder


POLICIES = {
    "graph": lambda: GraphPolicy(8, 2, 4.0, key=jr.key(1)),
    "transformer": lambda: EdgeTransformer(8, 2, 2, key=jr.key(1)),
    "rule": lambda: RulePolicy(jnp.arange(float(RulePolicy().weights.size))),
    "markowitz": lambda: Markowitz(3.0),
    "pretrained": pretrained,
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_folder_is_enough(name, tmp_path):
    """The architecture is in it; strings and paths are taken, also under a trace."""
    policy = POLICIES[name]()
    _saved(tmp_path, policy)
    for folder in (tmp_path, str(tmp_path)):
        again = load(folder)
        assert type(again) is type(policy)
        assert bool(eqx.tree_equal(again, policy))

    def inside(x):
        leaves = jax.tree.leaves(eqx.filter(load(tmp_path), eqx.is_array))
        assert all(not isinstance(leaf, Tracer) for leaf in leaves)
        return x

    assert jax.jit(inside)(1.0) == 1.0


def test_a_folder_is_a_policy(tmp_path):
    """Wherever a policy is taken: once, until the folder has another."""
    graph = helpers.random_graph(3)
    for kind in (PolicyOrdering, PolicyAnnealing):
        _saved(tmp_path, Markowitz())
        ordering = kind(str(tmp_path))
        assert ordering == kind(tmp_path) and hash(ordering) == hash(kind(tmp_path))
        _saved(tmp_path, RulePolicy())
        assert ordering != kind(tmp_path)
    assert PolicyOrdering(tmp_path)(graph) == PolicyOrdering(RulePolicy())(graph)
    _saved(tmp_path, Markowitz())
    assert PolicyOrdering(tmp_path)(graph) == PolicyOrdering(Markowitz())(graph)


def test_what_is_no_policy():
    for policy, got in ((3, "a `int`"), (Markowitz, r"`Markowitz\(...\)`")):
        with pytest.raises(ValueError, match=f"`policy` must be an .*{got}"):
            inspect.unwrap(hashable)(policy)


def test_a_class_of_users(tmp_path):
    """It says what to do, and does it."""
    policy = Deepest(jnp.arange(3.0), 2.0)
    _saved(tmp_path, policy)
    with pytest.raises(ValueError, match=r"`like` must be given.*like=Deepest\(...\)"):
        load(tmp_path)
    again = load(tmp_path, like=Deepest(jnp.zeros(3)))
    assert bool(eqx.tree_equal(again, policy))
    with pytest.raises(ValueError, match="must be the file of a policy `.*Deepest"):
        load(tmp_path, like=Deepest(jnp.zeros(4)))
    with pytest.raises(ValueError, match="`like` must be a policy; got a `Training`"):
        inspect.unwrap(load)(tmp_path, like=start(policy, SETTINGS))


def _policy():
    return GraphPolicy(4, 1, key=jr.key(0))


GRAPH = {"kind": "GraphPolicy", "width": 4, "rounds": 1, "sharpness": 8.0}


@pytest.mark.parametrize(
    "stored",
    [
        "{",
        "[]",
        "{}",
        GRAPH | {"width": "4"},
        GRAPH | {"width": -4},
        GRAPH | {"depth": 3},
        GRAPH | {"width": 4.5},
        {"kind": "EdgeTransformer", "width": 4, "layers": 1, "heads": 0},
        {"kind": "GraphPolicy"},
        {"kind": 3},
    ],
    ids=str,
)
def test_a_broken_architecture(stored, tmp_path):
    _saved(tmp_path, _policy())
    text = stored if isinstance(stored, str) else json.dumps(stored)
    (tmp_path / "policy.json").write_text(text)
    with pytest.raises(ValueError, match="must name an architecture"):
        load(tmp_path)
    assert bool(eqx.tree_equal(load(tmp_path, like=_policy()), _policy()))


@pytest.mark.parametrize(
    "stored",
    [
        GRAPH | {"width": 8},
        GRAPH | {"width": 0},
        GRAPH | {"rounds": 2},
        GRAPH | {"width": 10**9},
        {"kind": "RulePolicy"},
        {"kind": "Markowitz"},
    ],
    ids=str,
)
def test_another_architecture(stored, tmp_path):
    """An error, however large it would be."""
    _saved(tmp_path, _policy())
    (tmp_path / "policy.json").write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="must be the file of a policy `"):
        load(tmp_path)


def test_missing_files(tmp_path):
    with pytest.raises(ValueError, match=r"there is no '.*nowhere'.*train --folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no policy\.eqx\. Give the `--folder`"):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"must have a checkpoint\.eqx"):
        resume(tmp_path, start(_policy(), SETTINGS))
    _saved(tmp_path, _policy())
    (tmp_path / "policy.json").unlink()
    with pytest.raises(ValueError, match=r"must have a policy\.json.*like=policy"):
        load(tmp_path)
    (tmp_path / "policy.eqx").write_bytes(b"broken")
    with pytest.raises(ValueError, match="must be the file of a policy `GraphPolicy"):
        load(tmp_path, like=_policy())


def test_nothing_is_unpickled(tmp_path):
    """Arrays of objects would be."""
    _saved(tmp_path, _policy())
    with (tmp_path / "policy.eqx").open("wb") as file:
        for _ in range(20):
            np.save(file, np.asarray([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="must be the file of a policy"):
        load(tmp_path)


def test_the_best_is_kept(tmp_path):
    """It is what is loaded, until a policy without a score is saved."""
    for sharpness, score in ((1.0, 0.9), (2.0, 0.8), (3.0, 0.85), (4.0, math.inf)):
        save(tmp_path, start(Markowitz(sharpness), SETTINGS), {"a": 1}, score)
    assert load(tmp_path) == Markowitz(2.0)
    assert load(tmp_path, last=True) == Markowitz(4.0)
    best = json.loads((tmp_path / "best.json").read_text())
    assert best == {"iteration": 0, "score": 0.8}
    (tmp_path / "best.json").write_text("{")
    save(tmp_path, start(Markowitz(4.0), SETTINGS), score=0.9)
    assert load(tmp_path) == Markowitz(4.0)
    save(tmp_path, start(Markowitz(5.0), SETTINGS))
    assert load(tmp_path) == Markowitz(5.0)


def test_the_best_of_one_architecture(tmp_path):
    """A worse score of another is the best of its own."""
    save(tmp_path, start(Markowitz(), SETTINGS), score=0.5)
    save(tmp_path, start(_policy(), SETTINGS), score=0.9)
    assert isinstance(load(tmp_path), GraphPolicy)


def test_another_training(tmp_path):
    """Of other sizes, or by another kind of agent."""
    save(tmp_path, start(RulePolicy(), SETTINGS))
    for training in (start_evolution(RulePolicy()), start(_policy(), SETTINGS)):
        with pytest.raises(ValueError, match="must be the file of a training of `"):
            resume(str(tmp_path), training)


@pytest.mark.parametrize("name", ["RobotArm_6DOF", "BlackScholes_Jacobian"])
def test_tasks(name):
    each = task(name)
    costs = [
        order_cost(each.graph, ordering(each.graph), Published())
        for ordering in (Forward(), Reverse(), MinimalMarkowitz())
    ]
    assert each.best_known <= min(costs)
    if name == "RobotArm_6DOF":
        assert costs[:2] == [397, 301]
        assert (each.alphazero, each.ppo, each.best_known) == (231, 247, 221)
    new_game(each.graph)


def test_no_task():
    with pytest.raises(ValueError, match="`name` must be one of 'BlackScholes_J"):
        task("Perceptron")


def test_tasks_are_in_the_package():
    folder = pathlib.Path(eqx_cc.policy.__file__).parent / "_graphs"
    assert len(list(folder.glob("*.json"))) == 6


def test_a_policy_is_no_training(tmp_path):
    match = r"`training` must be an `eqx_cc.policy.Training`; got a `Markowitz`. M"
    with pytest.raises(TypeError, match=match):
        inspect.unwrap(save)(tmp_path / "new", Markowitz())
    assert not (tmp_path / "new").exists()
