"""The library of orders that comes with the package."""

import json
import pathlib
import random
import re

import eqx_cc
import jax
import pytest
from benchmarks.cases.tasks import TASKS
from benchmarks.orders import certificate, published_graph
from eqx_cc import Automatic, OrderCache
from eqx_cc._orders import cache as _cache
from eqx_cc._orders.search.bound_partition import take_blocks
from eqx_cc._orders.search.component import Part
from eqx_cc._orders.search.lower_bounds import Cuts
from eqx_cc._orders.search.reductions import reduce
from eqx_cc._orders.state import Bits


LIBRARY = json.loads(
    (pathlib.Path(_cache.__file__).parent / "_library.json").read_text()
)
PUBLISHED = {
    "RoeFlux_1d": 295,
    "RobotArm_6DOF": 221,
    "HumanHeartDipole": 148,
    "PropaneCombustion": 88,
    "random_g": 409,
}

# Another release of JAX may trace other graphs, which are then searched anew.
same_jax = pytest.mark.skipif(
    jax.__version__ not in LIBRARY["jax"], reason="not made with this release of JAX"
)


def _looked_up(graph: eqx_cc.ComputationalGraph, cost: str) -> eqx_cc.Order:
    order = OrderCache(None).get(graph, cost)
    assert order is not None
    assert order.found_by.endswith(", in the library of the package")
    return order


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_graphs(name):
    order = _looked_up(published_graph(name), "published")
    assert order.cost == PUBLISHED[name]
    assert order.optimal == (name != "random_g")


@same_jax
@pytest.mark.parametrize("cost", ["multiplications", "published"])
@pytest.mark.parametrize("name", TASKS)
def test_tasks(name, cost):
    graph = TASKS[name].graph
    order = _looked_up(graph, cost)
    simple = eqx_cc.Forward(), eqx_cc.Reverse(), eqx_cc.MinimalMarkowitz()
    model = eqx_cc._orders.cost.as_cost(cost)
    costs = [_cache.order_cost(graph, own(graph), model) for own in simple]
    assert order.cost <= min(costs)
    if cost == "multiplications":
        assert Automatic()(graph) == order


@same_jax
def test_the_default_uses_it():
    task = TASKS["RoeFlux_1d"]
    report = eqx_cc.explain(task.by_argument, task.inputs)
    costs = {name: plan.num_multiplications for name, plan in report.plans.items()}
    assert costs["chosen"] < min(costs["forward"], costs["reverse"], costs["markowitz"])
    assert "found by: Annealing, seed 0, in the library of the package (looked up)" in (
        str(report)
    )


def test_entries_are_plain_and_sorted():
    keys = list(LIBRARY["orders"])
    assert keys == sorted(keys)
    for key in keys:
        assert re.fullmatch(r"[0-9a-f]{64} (multiplications|published)", key)


@pytest.mark.parametrize(
    "name, bound",
    [
        ("RoeFlux_1d", 295),
        # Seconds, but for the types that are checked at every call in these tests.
        pytest.param("random_g", 402, marks=pytest.mark.slow),
    ],
)
def test_certificates(name, bound):
    """The proof is checked, not read: the blocks are bounded anew."""
    made, cuts = reduce(own := Bits(published_graph(name), 1)), Cuts(own)
    [vertices] = made.parts
    part = Part(made, vertices, cuts, random.Random(0))
    take_blocks(part, map(cuts.numbers, certificate(name)))
    assert made.cost + part.lower_bound == bound


@pytest.mark.slow
def test_exact_search_with_a_certificate():
    blocks = certificate("RoeFlux_1d")
    exact = eqx_cc.Exact(seconds=600.0, cost="published", blocks=blocks)
    order = exact.search(published_graph("RoeFlux_1d"))
    assert order.optimal and order.cost == 295


def test_a_certificate_of_another_graph():
    exact = eqx_cc.Exact(seconds=60.0, cost="published", blocks=((0, 1000),))
    with pytest.raises(ValueError, match="`blocks` must have intermediate vertices"):
        exact.search(published_graph("RoeFlux_1d"))
