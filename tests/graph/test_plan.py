"""Graphs and plans: the published counts, and that the counted operations are those
that the numeric replay emits."""

import json
import os
import pathlib
import subprocess
import sys
from collections import Counter

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.cases.tasks import TASKS
from eqx_cc import ComputationalGraph, Forward, MinimalMarkowitz, Reverse
from eqx_cc._graph.elimination import plan
from eqx_cc._graph.graph import SCALAR
from eqx_cc._linearise.accumulate import run_plan
from eqx_cc._linearise.interpreter import linearise
from eqx_cc._strategy.jacobian_blocks import trace_function
from jax.extend.core import Literal


ROOT = pathlib.Path(__file__).parents[2]
GRAPHS = ROOT / "eqx_cc" / "policy" / "_graphs"
ORDERS = {"forward": Forward(), "reverse": Reverse(), "markowitz": MinimalMarkowitz()}


#
# The published graphs
#


def published(name: str):
    data = json.loads((GRAPHS / f"{name}.json").read_text())
    ends = data["independents"], data["dependents"]
    edges = map(tuple, data["edges"])
    graph = ComputationalGraph.from_edges(data["num_vertices"], *ends, edges)
    return graph, data["multiplications"]


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("path", sorted(GRAPHS.glob("*.json")), ids=lambda p: p.stem)
def test_published_counts(path, order):
    graph, multiplications = published(path.stem)
    result = plan(graph, ORDERS[order](graph))
    assert result.num_multiplications == multiplications[order]
    assert result.num_scalings == 0


@pytest.mark.parametrize("path", sorted(GRAPHS.glob("*.json")), ids=lambda p: p.stem)
def test_markowitz_is_between_the_best_known_and_the_worse_mode(path):
    graph, multiplications = published(path.stem)
    count = plan(graph, MinimalMarkowitz()(graph)).num_multiplications
    worse = max(multiplications["forward"], multiplications["reverse"])
    assert multiplications["best_known"] <= count < worse


@pytest.mark.parametrize("path", sorted(GRAPHS.glob("*.json")), ids=lambda p: p.stem)
def test_accumulated_blocks_do_not_depend_on_the_order(path):
    graph, _ = published(path.stem)
    blocks = [plan(graph, order(graph)).blocks for order in ORDERS.values()]
    assert blocks[0] == blocks[1] == blocks[2]
    inputs, outputs = map(set, zip(*blocks[0]))
    assert inputs <= set(graph.independents)
    assert outputs <= set(graph.dependents)


#
# Graphs of edges
#


def diamond(*more: tuple[int, int]) -> ComputationalGraph:
    """Two inputs, two outputs, one vertex between them."""
    return ComputationalGraph.from_edges(
        5, [0, 1], [3, 4], [(0, 2), (1, 2), (2, 3), (2, 4), *more]
    )


@pytest.mark.parametrize("edge", [(1, 0), (2, 2), (0, 3), (-1, 1), (3, 4)])
def test_edges_must_go_forward(edge):
    with pytest.raises(
        ValueError, match=rf"`edges`.*below 3; got \({edge[0]}, {edge[1]}"
    ):
        ComputationalGraph.from_edges(3, [0], [2], [(0, 1), (1, 2), edge])


def test_vertices_that_do_not_matter_are_no_intermediates():
    """3 reaches no output, 4 depends on no input."""
    edges = [(0, 1), (1, 2), (1, 3), (4, 5), (2, 5)]
    graph = ComputationalGraph.from_edges(6, [0], [5], edges)
    assert graph.intermediates == (1, 2)
    assert set(graph.edges) == {(0, 1), (1, 2), (2, 5)}
    assert graph.num_vertices == 6
    assert plan(graph, (1, 2)).num_multiplications == 2


def test_an_output_that_is_used_again_gets_a_copy():
    """1 is an output and feeds 2, so that 3 stands for it as an output."""
    graph = ComputationalGraph.from_edges(3, [0], [1, 2], [(0, 1), (1, 2)])
    assert graph.dependents == (3, 2)
    assert graph.intermediates == (1,)
    assert set(graph.edges) == {(0, 1), (1, 2), (1, 3)}
    assert plan(graph, (1,)).blocks == {(0, 3): SCALAR, (0, 2): SCALAR}


def test_an_input_that_is_an_output_gets_a_copy():
    graph = ComputationalGraph.from_edges(2, [0], [0, 1], [(0, 1)])
    assert graph.dependents == (2, 1)
    assert graph.intermediates == ()
    assert plan(graph, ()).blocks == {(0, 2): SCALAR, (0, 1): SCALAR}


def test_an_output_that_depends_on_nothing_has_no_blocks():
    graph = ComputationalGraph.from_edges(4, [0], [1, 3], [(0, 1), (2, 3)])
    assert set(plan(graph, graph.intermediates).blocks) == {(0, 1)}


def test_repeated_edges_are_one():
    graph = ComputationalGraph.from_edges(3, [0], [2], [(0, 1), (0, 1), (1, 2)])
    assert len(graph.edges) == 2


def test_pretty():
    text = str(diamond())
    assert text.startswith(
        "ComputationalGraph: 2 inputs, 1 intermediates, 2 outputs, 4 edges\n"
    )
    assert text.count("->") == 4


#
# Plans
#


@pytest.mark.parametrize(
    "more, fill_in, additions", [([], 4, 0), ([(0, 3)], 3, 1), ([(0, 3), (1, 4)], 2, 2)]
)
def test_fill_in(more, fill_in, additions):
    result = plan(diamond(*more), (2,))
    assert result.num_multiplications == 4
    assert result.fill_in == fill_in
    assert result.num_additions == additions


def test_steps():
    """A chain with a shortcut: the first elimination fills in, the second absorbs."""
    graph = ComputationalGraph.from_edges(4, [0], [3], [(0, 1), (1, 2), (2, 3), (0, 3)])
    first, second = plan(graph, (1, 2)).steps
    assert [(u, w) for u, w, _ in first.updates] == [(0, 2)]
    assert [(u, w) for u, w, _ in second.updates] == [(0, 3)]
    assert (first.fill_in, second.fill_in) == (1, 0)
    assert (first.num_multiplications, second.num_multiplications) == (1, 1)


def test_the_order_decides_the_cost():
    """Many inputs, a chain, one output: backwards, the chain is paid for once."""
    edges = [*((i, 4) for i in range(4)), (4, 5), (5, 6), (6, 7)]
    graph = ComputationalGraph.from_edges(8, range(4), [7], edges)
    counts = {n: plan(graph, o(graph)).num_multiplications for n, o in ORDERS.items()}
    assert counts == {"forward": 12, "reverse": 6, "markowitz": 6}


def test_plans_are_memoised():
    assert plan(diamond(), (2,)) is plan(diamond(), (2,))


def plan_of(fun, *leaves, order="markowitz"):
    graph = eqx_cc.trace(lambda leaves: fun(*leaves), list(leaves)).graph
    return plan(graph, ORDERS[order](graph))


X = jnp.array([0.5, 1.0, 2.0])

# Multiplications, and those by constants.
COSTS = {
    "known": (lambda x: -(x + x) - x, 0, 0),
    "constants multiply symbolically": (lambda x: 2.0 * (3.0 * x), 0, 0),
    "constant times coefficient": (lambda x: 3.0 * jnp.sin(x), 0, 0),
    "chain": (lambda x: jnp.sin(jnp.sin(x)), 3, 0),
    "sum": (lambda x: jnp.sum(jnp.sin(x)), 0, 0),
    "broadcast": (lambda x: jnp.broadcast_to(jnp.sin(x), (5, 3)), 0, 0),
    "slice": (lambda x: jnp.sin(jnp.sin(x)[1:]), 2, 0),
    "relu": (lambda x: jax.nn.relu(jnp.sin(x)), 0, 0),
    "matmul": (lambda x: jnp.ones((2, 3)) @ jnp.sin(x), 6, 0),
    "added multiple": (lambda x: jnp.sin(x) + 2.0 * jnp.cos(x), 0, 3),
}


@pytest.mark.parametrize("name", COSTS)
def test_known_coefficients_are_free(name):
    fun, multiplications, scalings = COSTS[name]
    result = plan_of(fun, X)
    assert result.num_multiplications == multiplications
    assert result.num_scalings == scalings


#
# Counted = emitted
#


class _Emitted(Counter):
    """The scalar operations of a jaxpr, by kind."""

    def __init__(self, jaxpr):
        super().__init__()
        self.constants = set()
        # Few entries that a mask of known places selects, to be added.
        self.selected = set()
        self._walk(jaxpr)

    def _walk(self, jaxpr) -> None:
        for eqn in jaxpr.eqns:
            if "jaxpr" in eqn.params:
                self._walk(eqn.params["jaxpr"].jaxpr)
                continue
            constant = [self._is_constant(v) for v in eqn.invars]
            if all(constant):
                self.constants.update(eqn.outvars)
            if eqn.primitive.name == "select_n" and constant[0]:
                self.selected.update(eqn.outvars)
            self._count(eqn, constant)

    def _is_constant(self, atom) -> bool:
        return isinstance(atom, Literal) or atom in self.constants

    def _is_selected(self, atom) -> bool:
        return not isinstance(atom, Literal) and atom in self.selected

    def _count(self, eqn, constant) -> None:
        name, out = eqn.primitive.name, eqn.outvars[0].aval
        if name == "iota":
            return
        size = eqn.invars[0].aval.size
        if name == "mul":
            self["scalings" if any(constant) else "multiplications"] += out.size
        elif name in ("add", "add_any", "sub"):
            selects = any(self._is_selected(v) for v in eqn.invars)
            self["selected" if selects else "additions"] += out.size
        elif name == "dot_general":
            (axes, _), _ = eqn.params["dimension_numbers"]
            products = out.size * np.prod([eqn.invars[0].aval.shape[a] for a in axes])
            self["multiplications"] += int(products)
            self["additions"] += int(products) - out.size
        elif name == "reduce_sum":
            self["additions"] += size - out.size
        elif name == "scatter-add":
            self["scattered"] += eqn.invars[2].aval.size
        else:
            assert name in FREE, name


FREE = {
    *(
        "and",
        "broadcast_in_dim",
        "concatenate",
        "convert_element_type",
        "copy",
        "gather",
    ),
    *("neg", "not", "or", "pad", "reshape", "rev", "select_n", "slice", "squeeze"),
    *("transpose", "eq", "iota", "real", "conj"),
}


def counted_and_emitted(fun, leaves, order):
    program, num_outputs, _ = trace_function(
        lambda leaves: (fun(*leaves), None), leaves
    )
    linearised = []

    def local(leaves):
        active = range(len(leaves))
        linearised.append(linearise(program, leaves, active, order, num_outputs))
        return linearised[0].values

    values = jax.eval_shape(local, leaves)
    steps = plan(linearised[0].graph, tuple(order(linearised[0].graph)))
    replay = lambda values: run_plan(steps, values, linearised[0].dtypes)  # noqa: E731
    return steps, _Emitted(jax.make_jaxpr(replay)(values).jaxpr)


def _flat(fun):
    """The outputs as a list."""
    return lambda *args: jax.tree.leaves(fun(*args))


def _task(name: str):
    task = TASKS[name]
    return _flat(lambda *leaves: task.by_argument(leaves)), list(task.inputs)


W = jnp.arange(6.0).reshape(2, 3) / 7


def _mlp(w, x):
    h = jnp.tanh(w @ x)
    return [jnp.tanh(w.T @ h) + x]


def _attention(q, k):
    scores = jax.nn.softmax(q @ k.T / 3.0, axis=-1)
    return [scores @ k]


def _stencil(x):
    inner = x[2:] - 2.0 * x[1:-1] + x[:-2]
    return [jnp.sin(inner * x[1:-1])]


def _normalised(x):
    centred = x - jnp.mean(x)
    return [centred / jnp.sqrt(jnp.mean(centred**2) + 1e-3)]


def _masked(x):
    return [jnp.where(x > 0.7, jnp.sin(x) * x, 0.0) * jnp.max(x)]


def _outer(x, y):
    return [jnp.sin(x[:, None] * y[None, :]).sum(0), jnp.cumsum(x * y)]


def _bilinear(x, y):
    return [jnp.einsum("i,ij,j", jnp.sin(x), jnp.ones((3, 3)), jnp.cos(y))]


def _padded(x):
    return [jnp.pad(jnp.sin(x), 1) * jnp.concatenate([x, jnp.cos(x)])[:5]]


ARRAYS = {
    "mlp": (_mlp, [W, X]),
    "attention": (_attention, [W, W + 0.3]),
    "stencil": (_stencil, [jnp.arange(20.0) / 9]),
    "normalised": (_normalised, [X]),
    "masked": (_masked, [X]),
    "outer": (_outer, [X, X + 0.1]),
    "bilinear": (_bilinear, [X, X]),
    "padded": (_padded, [X]),
    "matmuls": (lambda a, b: [jnp.sin(a @ b) @ a], [W, W.T]),
    "elementwise": (lambda x: [jnp.sin(jnp.exp(x) * x) / (x + 2.0 * jnp.cos(x))], [X]),
    "scaled": (lambda x: [jnp.sin(x) + 2.0 * jnp.cos(x) - jnp.exp(x)], [X]),
    "shared scalar": (lambda x: [jnp.sin(x * x[0]) * jnp.sum(x)], [X]),
    "gathered": (lambda x: [jnp.sin(x)[jnp.array([2, 0, 2])] * x], [X]),
    "reshaped": (lambda w: [jnp.sin(w).reshape(3, 2) @ w], [W]),
}
SCALARS = [
    "BlackScholes",
    "BlackScholes_Jacobian",
    "CloudScheme",
    "HelmholtzEnergy",
    "HumanHeartDipole",
    "KerrSenMetric",
    "Lighthouse",
    "PropaneCombustion",
    "RobotArm_6DOF",
    "RoeFlux_1d",
]
PROGRAMS = dict.fromkeys(SCALARS) | ARRAYS


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", PROGRAMS)
def test_counted_is_emitted(name, order):
    fun, leaves = PROGRAMS[name] or _task(name)
    counted, emitted = counted_and_emitted(fun, leaves, ORDERS[order])
    assert counted.num_multiplications == emitted["multiplications"]
    assert counted.num_scalings == emitted["scalings"]
    # A scatter, or a selection, adds what it does not count, and does not add what it
    # counts.
    if emitted["scattered"] or emitted["selected"]:
        assert counted.num_additions >= emitted["additions"]
    else:
        assert counted.num_additions == emitted["additions"]


def test_published_programs_cost_no_more_than_published():
    """Vertices are the published ones; coefficients known to be 1 are free here."""
    for name in (
        "RoeFlux_1d",
        "RobotArm_6DOF",
        "HumanHeartDipole",
        "PropaneCombustion",
    ):
        fun, leaves = _task(name)
        graph, multiplications = published(name)
        for order in ("forward", "reverse"):
            result = plan_of(fun, *leaves, order=order)
            assert len(result.order) == len(graph.intermediates)
            cost = result.num_multiplications + result.num_scalings
            assert cost < multiplications[order]


#
# Fingerprints
#


def _first(x):
    return jnp.sin(x * 2.0) + jnp.cos(x) * x


def _renamed(y):
    """The same in other words, at other lines."""
    cosine = jnp.cos(y)
    doubled = y * 2.0
    return jnp.sin(doubled) + cosine * y


def _constant(x):
    return jnp.sin(x * 3.0) + jnp.cos(x) * x


def _operation(x):
    return jnp.sin(x * 2.0) - jnp.cos(x) * x


def fingerprint(fun, *args) -> str:
    return eqx_cc.trace(fun, *args).graph.fingerprint


def test_fingerprints_of_one_program():
    first = fingerprint(_first, X)
    assert len(first) == 64 and int(first, 16) >= 0
    assert first == fingerprint(_first, X) == fingerprint(_first, X + 1.0)
    assert first == fingerprint(jax.jit(lambda x: _first(x)), X)


@pytest.mark.parametrize(
    "fun, x",
    [(_constant, X), (_operation, X), (_first, X[:2]), (_first, X[0])],
    ids=["constant", "operation", "shape", "rank"],
)
def test_fingerprints_of_other_programs(fun, x):
    assert fingerprint(fun, x) != fingerprint(_first, X)


def test_fingerprints_do_not_see_names():
    """Partials that only have other values are of the same graph."""
    swapped = lambda x: jnp.exp(x * 2.0) + jnp.cos(x) * x  # noqa: E731
    assert fingerprint(swapped, X) == fingerprint(_first, X)


def test_fingerprints_do_not_see_what_does_not_matter():
    def fun(x):
        unused = jnp.sin(x) + 1.0  # noqa: F841
        return _first(x)

    assert fingerprint(fun, X) == fingerprint(_first, X)
    graphs = [
        ComputationalGraph.from_edges(n, [0], [n - 1], [(0, n - 2), (n - 2, n - 1)])
        for n in (3, 7)
    ]
    assert graphs[0] != graphs[1]
    assert graphs[0].fingerprint == graphs[1].fingerprint


@pytest.mark.parametrize(
    "independents, dependents, edges",
    [
        ([0, 1], [3, 4], [(0, 2), (1, 2), (2, 3)]),
        ([1, 0], [3, 4], [(0, 2), (1, 2), (2, 3), (2, 4)]),
        ([0, 1], [4, 3], [(0, 2), (1, 2), (2, 3), (2, 4)]),
    ],
)
def test_fingerprints_see_edges_and_ends(independents, dependents, edges):
    other = ComputationalGraph.from_edges(5, independents, dependents, edges)
    assert other != diamond()
    assert other.fingerprint != diamond().fingerprint


def test_equal_graphs():
    assert diamond() == diamond()
    assert hash(diamond()) == hash(diamond())
    assert diamond() != diamond((0, 3))
    assert diamond() != "diamond"


PROGRAM = """
import eqx_cc, jax.numpy as jnp
fun = lambda x: jnp.sin(x[1:] * 0.1) @ jnp.cos(x[:-1])
result = eqx_cc.trace(fun, jnp.ones(4, jnp.float32)).graph.fingerprint
"""


def test_fingerprints_are_those_of_another_process():
    here: dict = {}
    exec(PROGRAM, here)
    env = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM + "print(result)"]
    there = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, check=True)
    assert there.stdout.decode().strip() == here["result"]


@pytest.mark.parametrize(
    "independents, dependents, edges, message",
    [
        ([0, 5], [2], [(0, 2)], "`independents`"),
        ([0], [2, 2], [(0, 2)], "`dependents`"),
        ([0, 1], [2], [(0, 1), (1, 2)], "into an independent"),
    ],
)
def test_ends_are_checked(independents, dependents, edges, message):
    with pytest.raises(ValueError, match=message):
        ComputationalGraph.from_edges(3, independents, dependents, edges)
