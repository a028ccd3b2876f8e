"""Cost models, on blocks that can be counted by hand."""

import inspect

import eqx_cc
import jax
import jax.numpy as jnp
import pytest
from benchmarks.cases.tasks import TASKS
from eqx_cc import (
    AbstractCost,
    ComputationalGraph,
    Flops,
    Forward,
    MinimalMarkowitz,
    Multiplications,
    Published,
    Reverse,
    Traffic,
)
from eqx_cc._graph.elimination import plan
from eqx_cc._orders import cost as _cost
from eqx_cc._orders.baseline import order_cost


# As it is for users, whose annotations nobody checks.
as_cost = inspect.unwrap(_cost.as_cost)

MODELS = {
    "published": Published(),
    "multiplications": Multiplications(),
    "flops": Flops(),
    "traffic": Traffic(),
}
X = jnp.ones(3)
W = jnp.ones((4, 3))


def _costs(fun, x=X) -> dict[str, int]:
    graph = eqx_cc.trace(fun, x).graph
    order = graph.intermediates
    return {name: order_cost(graph, order, cost) for name, cost in MODELS.items()}


def _chain(x):
    return jnp.exp(jnp.sin(x))


def test_diagonals():
    # Six numbers are read and three are written, of eight bytes each.
    counts = {"published": 3, "multiplications": 3, "flops": 3, "traffic": 72}
    assert _costs(_chain) == counts


def test_known_coefficients():
    def fun(x):
        return jnp.exp(-x)

    # To be published is to be multiplied, by -1 too; and -1 is not read.
    counts = {"published": 3, "multiplications": 0, "flops": 0, "traffic": 48}
    assert _costs(fun) == counts


def test_constants():
    def fun(x):
        return 3.0 * jnp.exp(2.0 * x)

    costs = _costs(fun)
    assert costs["published"] == 6
    assert costs["multiplications"] == 0
    assert costs["flops"] == 0  # 6 is kept as a factor, for when it is needed.


def test_a_matrix_of_numbers():
    def fun(x, w):
        return jnp.sin(w) @ jnp.sin(x)

    graph = eqx_cc.trace(lambda x: fun(x, W), X).graph
    order = graph.intermediates
    assert order_cost(graph, order, Published()) == 4 * 3
    assert order_cost(graph, order, Traffic()) == 8 * (4 * 3 + 3 + 4 * 3)


def test_additions():
    def fun(x):
        y = jnp.sin(x)
        return y * jnp.exp(y)

    costs = _costs(fun)
    # x to exp, x to the product, and once more by way of exp, which is added.
    assert costs["multiplications"] == 9
    assert costs["flops"] == 9 + 3


def test_kronecker_axes_are_free():
    def fun(x):
        return jnp.sum(jnp.sin(x))

    graph = eqx_cc.trace(fun, X).graph
    order = graph.intermediates
    assert order_cost(graph, order, Published()) == 3
    assert order_cost(graph, order, Multiplications()) == 0


@pytest.mark.parametrize("name", ["RoeFlux_1d", "HumanHeartDipole", "Perceptron"])
@pytest.mark.parametrize(
    "ordering", [Forward(), Reverse(), MinimalMarkowitz()], ids=lambda o: repr(o)
)
def test_the_plan_counts_the_same(name, ordering):
    graph = TASKS[name].graph
    steps = plan(graph, ordering(graph))
    done = steps.num_multiplications
    assert order_cost(graph, steps.order, Multiplications()) == done
    flops = done + steps.num_scalings + steps.num_additions
    assert order_cost(graph, steps.order, Flops()) == flops


@pytest.mark.parametrize(
    "name, forward, reverse",
    [
        ("RoeFlux_1d", 620, 364),
        ("RobotArm_6DOF", 397, 301),
        ("HumanHeartDipole", 240, 172),
        ("PropaneCombustion", 151, 90),
    ],
)
def test_published_totals_of_functions(name, forward, reverse):
    graph = TASKS[name].graph
    assert order_cost(graph, Forward()(graph), Published()) == forward
    assert order_cost(graph, Reverse()(graph), Published()) == reverse


def test_a_view_has_the_same_edges():
    graph = TASKS["Perceptron"].graph
    view = Published().view(graph)
    assert view.edges.keys() == graph.edges.keys()
    assert view.intermediates == graph.intermediates


def test_graphs_of_plain_edges_have_unknown_coefficients():
    edges = [(0, 2), (1, 2), (2, 3), (2, 4), (3, 5), (4, 5)]
    graph = ComputationalGraph.from_edges(6, [0, 1], [5], edges)
    for cost in (Published(), Multiplications()):
        assert order_cost(graph, graph.intermediates, cost) == 4 + 2 + 2
    assert order_cost(graph, graph.intermediates, Flops()) == 8 + 2


#
# What stands for a model
#


@pytest.mark.parametrize("name", MODELS)
def test_names(name):
    assert as_cost(name) == MODELS[name]
    assert as_cost(name).name == name


def test_models_stand_for_themselves():
    cost = Traffic(itemsize=4)
    assert as_cost(cost) is cost
    assert cost.name == "traffic-4"
    graph = eqx_cc.trace(_chain, X).graph
    costs = [order_cost(graph, graph.intermediates, c) for c in (cost, Traffic())]
    assert 2 * costs[0] == costs[1]


@pytest.mark.parametrize("cost", ["speed", "", None, 3, Published, ["flops"]], ids=str)
def test_what_is_no_model(cost):
    with pytest.raises(ValueError, match="`cost` must be one of 'published', "):
        as_cost(cost)


class Squared(AbstractCost):
    """Dear pairs are dearer."""

    def __call__(self, old, left, right):
        return Multiplications()(old, left, right) ** 2


def test_models_of_users():
    graph = eqx_cc.trace(_chain, X).graph
    assert order_cost(graph, graph.intermediates, Squared()) == 9
    order = eqx_cc.Annealing(seconds=0.1, cost=Squared()).search(graph)
    assert order.cost == 9
    assert order.cost_model == "Squared()"
    jacobian = eqx_cc.filter_jacobian(_chain, order=order)(X)
    assert jnp.allclose(jacobian, jax.jacfwd(_chain)(X))
