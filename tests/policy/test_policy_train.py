"""Training: the return improves, whoever learns; and what is resumed is the same."""

import itertools as it
import random

import equinox as eqx
import helpers
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from eqx_cc import Multiplications, Published
from eqx_cc._orders.state import space, total
from eqx_cc.policy import (
    AlphaZero,
    evaluate,
    GraphPolicy,
    held_out,
    imitate,
    Imitation,
    Markowitz,
    new_games,
    PPO,
    random_graph,
    resume,
    rollout,
    save,
    Settings,
    start,
    train,
)
from eqx_cc.policy._game.host import HostedGame
from eqx_cc.policy._training.agent import parts_of, returns_to_go
from eqx_cc.policy._training.imitation import remove_lessons
from eqx_cc.policy._training.lessons import annealed, lessons_along
from eqx_cc.policy._training.random_functions import random_structured_graph


pytestmark = pytest.mark.usefixtures("quickly_compiled")

AGENTS = {"ppo": PPO(), "alphazero": AlphaZero(num_simulations=4)}
SETTINGS = Settings(batch=16, smallest=6, largest=10, rate=1e-2)
# As drawn by the logits, and where the largest of them is taken.
DRAWN, GREEDY = 1.0, 1e-3


def _policy():
    """It plays at random until it is trained."""
    return GraphPolicy(8, 1, 0.0, key=jr.key(0))


_rollouts = eqx.filter_jit(eqx.filter_vmap(rollout, in_axes=(None, 0, 0, 0, None)))


def _return(policy, temperature):
    """The mean over 32 graphs that are never trained on; that of Markowitz is -1."""
    games, states = new_games(held_out(32, 6, 10), Published(), size=32)
    keys = jr.split(jr.key(1), 32)
    ends, _ = _rollouts(policy, games, states, keys, temperature)
    return -float(jnp.mean(ends.total / games.baseline))


@pytest.mark.parametrize("name", AGENTS)
def test_it_learns_and_goes_on(name, tmp_path):
    """Play at random has a return of less than -1.15. After nine iterations it is by at
    least 0.06 larger where moves are drawn as the policy says, and by 0.15 where the
    likeliest is taken. What is resumed is the same to the last bit."""
    if name == "alphazero":
        pytest.importorskip("mctx")
    agent, begin = AGENTS[name], start(_policy(), SETTINGS)
    history = list(it.islice(train(agent, begin, SETTINGS), 9))
    random_return, learned = _return(begin.policy, DRAWN), history[-1][0]
    assert random_return < -1.15
    assert _return(learned.policy, DRAWN) > random_return + 0.06
    assert _return(learned.policy, GREEDY) > random_return + 0.15
    assert all(np.isfinite(metrics[2:6]).all() for _, metrics in history)
    save(tmp_path, history[-3][0])
    again = resume(tmp_path, begin)
    assert int(again.iteration) == 7
    *_, (resumed, _) = it.islice(train(agent, again, SETTINGS), 2)
    assert bool(eqx.tree_equal(learned, resumed))


IMITATION = Imitation(structured=0.25, most=4, steps=4, parts=8)


def _imitated(training, folder, count):
    settings = SETTINGS._replace(batch=4, rate=3e-3)
    return list(it.islice(imitate(IMITATION, training, settings, folder), count))


def test_imitation_learns_and_goes_on(tmp_path):
    """What is likely is better at the end, and what is resumed is the same, some
    iterations after the checkpoint. (Graphs of scalars, and of functions of arrays.)"""
    begin = start(_policy(), SETTINGS)
    whole = _imitated(begin, tmp_path / "whole", 6)
    losses = [metrics.policy_loss for _, metrics in whole]
    assert np.mean(losses[-2:]) < 0.8 * losses[0]
    half, _ = _imitated(begin, tmp_path / "half", 3)[-1]
    save(tmp_path / "half", half)
    _imitated(half, tmp_path / "half", 1)
    again = resume(tmp_path / "half", start(_policy(), SETTINGS))
    resumed, _ = _imitated(again, tmp_path / "half", 3)[-1]
    assert bool(eqx.tree_equal(whole[-1][0], resumed))


def test_lessons_that_no_checkpoint_needs(tmp_path):
    folder = tmp_path / "lessons"
    folder.mkdir()
    for number in (0, 9, 10, 11):
        (folder / f"{number}.npz").touch()
    remove_lessons(tmp_path, 10)
    assert {path.stem for path in folder.iterdir()} == {"10", "11"}


@pytest.mark.parametrize("cost", [Published(), Multiplications()])
def test_lessons(cost):
    """Regrets are by how much the whole becomes dearer; the graph turned round has the
    same; and so have policies."""
    graph = random_structured_graph(3, 8, 10)
    search_space, rng = space(graph, cost), random.Random(0)
    order = annealed(search_space, search_space.start, search_space.inner, rng, 20)
    least = total(search_space, search_space.start, order)
    lessons, paid = lessons_along(HostedGame(graph, search_space, 32), order, rng, 99)
    assert paid == least and len(lessons) > 1
    first = next(x for x in lessons if x.ends[2].sum() == len(order))
    assert first.to_go * first.baseline == pytest.approx(least)
    for vertex in search_space.inner:
        rest = [vertex, *(v for v in order if v != vertex)]
        regret = total(search_space, search_space.start, rest) - least
        assert first.regrets[vertex] * first.baseline == pytest.approx(regret, abs=1e-2)
    turned = jax.tree.map(jnp.asarray, first).transposed
    for leaf, back in zip(first, turned.transposed):
        np.testing.assert_array_equal(leaf, back)
    look = eqx.filter_jit(lambda lesson: Markowitz()(*lesson.situation))
    for one, other in zip(look(first), look(turned)):
        np.testing.assert_allclose(one, other, rtol=1e-5)


@pytest.mark.slow
def test_the_batch_is_split_over_devices():
    """And what is learnt is what one device learns."""
    helpers.run_on_devices("sharded_training.py", 2)


def test_evaluation():
    graphs = [helpers.random_graph(seed) for seed in range(8)]
    ratios = evaluate(Markowitz(), graphs)
    assert set(ratios.tolist()) <= {0.0, 1.0} and ratios.mean() > 0.5


def test_returns():
    rewards = jnp.asarray([[-1.0, -2.0], [0.0, -3.0], [-4.0, 0.0]])
    assert returns_to_go(rewards).tolist() == [[-5, -5], [-4, -3], [-4, 0]]


def test_parts_of_a_lesson():
    lesson = jnp.arange(7), jnp.arange(14).reshape(7, 2)
    first, second = parts_of(lesson, 3, jr.key(0))
    assert first.shape == (3, 2) and second.shape == (3, 2, 2)
    assert len(set(first.ravel().tolist())) == 6
    assert (second[..., 0] == 2 * first).all()


def test_graphs():
    """The same for the same seed, different for others, and of many sizes."""
    one = [random_graph(seed) for seed in range(100)]
    assert one == [random_graph(seed) for seed in range(100)]
    assert len({graph.fingerprint for graph in [*one, *held_out(50)]}) == 150
    sizes = [len(graph.intermediates) for graph in one]
    assert min(sizes) < 15 and max(sizes) > 150
    functions = held_out(4, 5, 8, structured=True)
    assert functions == held_out(4, 5, 8, structured=True)
    assert any(p.out_shape for graph in functions for p in graph.edges.values())
    small = [random_graph(seed, 5, 8) for seed in range(50)]
    assert all(len(graph.intermediates) <= 8 for graph in small)
