"""The learned rule as a policy, its training, and the programs for that."""

import inspect
import itertools as it
import random
import re

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from eqx_cc import LearnedRule, Multiplications, Published, RuleWeights
from eqx_cc._orders import lookup
from eqx_cc._orders.rule.game import local_score, place_score, places
from eqx_cc._orders.rule.neighbourhoods import neighbourhoods
from eqx_cc._orders.rule.weights import packaged_weights
from eqx_cc._orders.state import space
from eqx_cc.policy import (
    AbstractPolicy,
    Evolution,
    evolve,
    held_out,
    new_game,
    PolicyOrdering,
    resume,
    RulePolicy,
    save,
    Settings,
    start_evolution,
    step,
)
from eqx_cc.policy._command.counts import markowitz_costs, policy_costs, ratios
from eqx_cc.policy._training.programs.draft import shapes_of
from eqx_cc.policy._training.programs.random_programs import (
    FAMILIES,
    random_draft,
    random_program,
)
from helpers import random_graph
from jaxtyping import Array, Float


pytestmark = pytest.mark.usefixtures("quickly_compiled")

ANY = RuleWeights(1.0, 0.3, -0.2, 0.7, -0.4, 0.2, 0.5, 0.1, 0.2, -0.3, 0.1, 0.6, -0.5)


def _numbers(x):
    """Scalars, with coefficients 1, -1 and 3, some of which cancel."""
    a, b = x[0] + x[1], x[0] - 3.0 * x[1]
    c, d = a - b, jnp.sin(a * b)
    e = c + d - a
    return jnp.stack([e * d, e - c, (c + b) * jnp.cos(e) + e])


NUMBERS = eqx_cc.explain(_numbers, jnp.ones(2), granularity="scalar").graph
GRAPHS = {
    "bits": (random_graph(3), Published()),
    "larger": (held_out(1, 20, 30)[0], Published()),
    "numbers": (NUMBERS, Multiplications()),
}


@pytest.mark.parametrize("weights", [ANY, *packaged_weights()])
@pytest.mark.parametrize("name", GRAPHS)
def test_scores_and_orders_are_those_of_plain_python(name, weights):
    """At every state of a game that JAX plays, both have the same scores, and the move
    is the vertex of the least of them."""
    graph, cost = GRAPHS[name]
    states = space(graph, cost)
    near = neighbourhoods(states, states.start)
    fixed = [place_score(weights, place) for place in places(near)]
    policy = eqx.filter_jit(RulePolicy(weights))
    game, state = new_game(graph, cost)
    move = eqx.filter_jit(step)
    while not state.finished:
        logits = np.asarray(policy(game, state)[0])
        left = np.flatnonzero(state.remaining).tolist()
        scores = [local_score(weights, near.features(v), 1) + fixed[v] for v in left]
        np.testing.assert_allclose(-logits[left], scores, rtol=1e-4, atol=1e-4)
        assert np.all(logits[~np.asarray(state.remaining)] == -np.inf)
        vertex = left[np.argmax(logits[left])]
        assert scores[left.index(vertex)] == pytest.approx(min(scores), abs=1e-4)
        state, _ = move(game, state, jnp.asarray(vertex))
        near.eliminate(vertex)


def test_it_is_an_ordering_both_ways():
    graph = random_graph(5)
    rule = RulePolicy(ANY)
    assert rule.ordering(Published()).cost == Published()
    weights = rule.ordering().weights
    assert weights is not None
    np.testing.assert_allclose(weights[0], ANY, rtol=1e-6)
    order = PolicyOrdering(rule, cost="published")(graph)
    assert sorted(order) == sorted(LearnedRule(ANY, "published")(graph))
    np.testing.assert_allclose(RulePolicy().weights, packaged_weights()[0], rtol=1e-6)


def test_structured_graphs_can_be_played():
    graph = eqx_cc.trace(lambda x: jnp.sin(x) * jnp.sum(jnp.exp(x)), jnp.ones(3)).graph
    assert sorted(PolicyOrdering(RulePolicy())(graph)) == [*graph.intermediates]


class _Deepest(AbstractPolicy):
    """A policy as users write them."""

    weights: Float[Array, " n"]

    def __call__(self, game, state):
        return jnp.where(state.remaining, -game.depth, -jnp.inf), jnp.zeros(())


@pytest.mark.parametrize("policy", [RulePolicy(), _Deepest(jnp.ones(9))])
def test_a_policy_is_no_ordering(policy):
    """The message names what to write, and prints no weights."""
    name = type(policy).__name__
    match = (
        rf"got a `{name}`. Make one of it: `eqx_cc.policy.PolicyOrdering\(policy\)`.$"
    )
    with pytest.raises(ValueError, match=match):
        inspect.unwrap(lookup.as_ordering)(policy)


def test_no_other_module_is_an_ordering():
    with pytest.raises(ValueError, match="got a `Linear`.$"):
        inspect.unwrap(lookup.as_ordering)(eqx.nn.Linear(2, 2, key=jr.key(0)))


def test_a_folder_is_no_ordering(tmp_path):
    match = "A trained policy: `eqx_cc.policy.PolicyOrdering("
    with pytest.raises(ValueError, match=re.escape(match)):
        inspect.unwrap(lookup.as_ordering)(str(tmp_path))


#
# Training
#


EVOLUTION = Evolution(population=8, programs=2, most=60, share=0.1)
SETTINGS = Settings(batch=6, smallest=15, largest=25)


def test_it_evolves_and_goes_on(tmp_path):
    """It begins as the Markowitz rule, is soon better on graphs that it never saw, and
    what is resumed is the same to the last bit."""
    begin = start_evolution(RulePolicy(RuleWeights()), EVOLUTION)
    history = list(it.islice(evolve(EVOLUTION, begin, SETTINGS), 12))
    graphs = held_out(20, 15, 25)
    markowitz = markowitz_costs(graphs, Published())
    first, last = (
        ratios(policy_costs(t.policy, graphs, Published()), markowitz).mean()
        for t in (begin, history[-1][0])
    )
    assert first == pytest.approx(1.0) and last < 0.98
    assert history[-1][1].iteration == 12 and history[-1][1].ratio > 0.0
    save(tmp_path, history[-3][0])
    again = resume(tmp_path, begin)
    *_, (resumed, _) = it.islice(evolve(EVOLUTION, again, SETTINGS), 2)
    assert bool(eqx.tree_equal(history[-1][0], resumed))


def test_companions_only_lower_the_loss():
    """What is trained beside others is judged by the cheapest of all games."""
    first = start_evolution(RulePolicy(RuleWeights()), EVOLUTION)
    beside = EVOLUTION._replace(companions=packaged_weights())
    alone, both = (
        next(evolve(each, first, SETTINGS))[1] for each in (EVOLUTION, beside)
    )
    assert both.policy_loss < alone.policy_loss and both.ratio < alone.ratio


def test_graphs_to_evolve_on():
    """Those that there is nothing to learn from are an error."""
    settings = SETTINGS._replace(graphs=(GRAPHS["bits"][0],) * 2)
    training = start_evolution(RulePolicy(), EVOLUTION)
    _, metrics = next(evolve(EVOLUTION, training, settings))
    assert np.isnan(metrics.least)
    edges = [(0, 1), (1, 2)]
    small = eqx_cc.ComputationalGraph.from_edges(3, [0], [2], edges)
    with pytest.raises(ValueError, match="`graphs` must have at least three"):
        next(evolve(EVOLUTION, training, SETTINGS._replace(graphs=(small,))))


#
# Programs
#


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_families_of_programs(family):
    for seed in range(2):
        draft = family(random.Random(seed))
        assert shapes_of(draft) and all(n >= 1 for s in draft.shapes for n in s)


def test_programs_are_determined_by_their_seed():
    graphs = [random_program(7, scalars=True) for _ in range(2)]
    assert graphs[0].fingerprint == graphs[1].fingerprint
    kinds = {shapes_of(random_draft(seed)) for seed in range(6)}
    assert len(kinds) > 1


def test_composed_programs():
    """What is composed, unrolled or differentiated has results, too."""
    for seed in range(30):
        fun, shapes = random_draft(seed)
        avals = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
        assert jax.eval_shape(fun, *avals)
