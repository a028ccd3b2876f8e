import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from benchmarks.cases.tasks import TASKS
from jax.extend.core import Literal


GRAPHS = pathlib.Path(__file__).parents[2] / "eqx_cc" / "policy" / "_graphs"
PINNED = ("RoeFlux_1d", "RobotArm_6DOF", "HumanHeartDipole", "PropaneCombustion")


def _flatten(jaxpr, numbers, edges, count):
    """Number the equations of a scalar jaxpr, nested jits inlined, in order."""
    for eqn in jaxpr.eqns:
        inputs = [None if isinstance(v, Literal) else numbers[v] for v in eqn.invars]
        if "jaxpr" in eqn.params:
            inner = eqn.params["jaxpr"].jaxpr
            numbers.update(zip(inner.invars, inputs))
            count = _flatten(inner, numbers, edges, count)
            outputs = [numbers[v] for v in inner.outvars]
            numbers.update(zip(eqn.outvars, outputs))
        else:
            edges.extend((i, count) for i in dict.fromkeys(inputs) if i is not None)
            numbers[eqn.outvars[0]] = count
            count += 1
    return count


def _graph_of(fun, args):
    jaxpr = jax.make_jaxpr(fun)(*args).jaxpr
    numbers: dict[Any, int] = {v: i for i, v in enumerate(jaxpr.invars)}
    edges: list[tuple[int, int]] = []
    count = _flatten(jaxpr, numbers, edges, len(args))
    dependents = [numbers[v] for v in jaxpr.outvars]
    return count, edges, list(range(len(args))), dependents


def _cost(edges, order):
    """Multiplications of eliminating `order`: predecessors times successors."""
    before, after = {}, {}
    for i, j in edges:
        before.setdefault(j, set()).add(i)
        after.setdefault(i, set()).add(j)
    total = 0
    for v in order:
        predecessors, successors = before.pop(v, set()), after.pop(v, set())
        total += len(predecessors) * len(successors)
        for i in predecessors:
            after[i] = (after[i] | successors) - {v}
        for j in successors:
            before[j] = (before[j] | predecessors) - {v}
    return total


def _intermediates(count, edges, independents, dependents):
    reaching = set(dependents)
    for i, j in reversed(edges):
        if j in reaching:
            reaching.add(i)
    ends = {*independents, *dependents}
    return [v for v in range(count) if v in reaching and v not in ends]


def _forward_and_reverse(count, edges, independents, dependents):
    middle = _intermediates(count, edges, independents, dependents)
    kept = {*middle, *dependents}
    edges = [e for e in edges if e[1] in kept]
    return _cost(edges, middle), _cost(edges, middle[::-1])


def _published(name):
    graph = json.loads((GRAPHS / f"{name}.json").read_text())
    edges = [tuple(e) for e in graph["edges"]]
    graph["counts"] = _forward_and_reverse(
        graph["num_vertices"], edges, graph["independents"], graph["dependents"]
    )
    return graph


@pytest.mark.parametrize("name", [*PINNED, "random_g"])
def test_stored_graphs_have_the_published_counts(name):
    graph = _published(name)
    published = graph["multiplications"]
    assert graph["counts"] == (published["forward"], published["reverse"])


@pytest.mark.parametrize("name", PINNED)
def test_counts_are_the_published_ones(name):
    task, published = TASKS[name], _published(name)
    graph = _graph_of(task.fun, task.args)
    assert len(set(graph[1])) == len(published["edges"])
    assert graph[0] == published["num_vertices"]
    assert _forward_and_reverse(*graph) == published["counts"]


@pytest.mark.parametrize("name", TASKS)
def test_finite_at_the_canonical_point(name):
    task = TASKS[name]
    out, tangent = jax.jit(lambda *a: jax.jvp(task.fun, a, a))(*task.args)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((out, tangent)))


@pytest.mark.parametrize("name", ["RoeFlux_1d", "RoeFlux_3d"])
def test_roe_flux_is_consistent(name):
    """Between two equal states the flux is that of Euler's equations."""
    task = TASKS[name]
    side = task.args[len(task.args) // 2 :]
    density, momentum, energy = (jnp.atleast_1d(x) for x in side)
    pressure = -0.5 * (energy - 0.5 * jnp.sum(momentum**2, keepdims=True) / density)
    velocity = momentum[:1] / density
    direction = jnp.eye(1, len(momentum))[0]
    expected = (
        momentum[:1],
        pressure * direction + momentum * velocity,
        velocity * (pressure + energy),
    )
    for got, want in zip(task.fun(*side, *side), expected):
        assert jnp.allclose(jnp.atleast_1d(got), want, rtol=1e-12)


def test_greeks():
    """The Greeks solve Black and Scholes' equation, and their Jacobian is symmetric."""
    task = TASKS["BlackScholes_Jacobian"]
    spot, _, rate, volatility, _ = task.args
    delta, _, _, _, theta = task.fun(*task.args)
    hessian = jnp.array(jax.jacfwd(task.fun, argnums=task.argnums)(*task.args))
    assert jnp.allclose(hessian, hessian.T, rtol=1e-10)
    price = TASKS["BlackScholes"].fun(*task.args)
    diffusion = 0.5 * volatility**2 * spot**2 * hessian[0, 0]
    assert jnp.allclose(theta, diffusion + rate * (spot * delta - price), rtol=1e-10)


def test_kerr_sen_metric():
    r, theta, mass, charge, spin = 5.0, 1.1, 1.0, 0.5, 0.6
    metric = TASKS["KerrSenMetric"].fun(*TASKS["KerrSenMetric"].args)
    delta = r * (r + charge**2 / mass) - 2 * mass * r + spin**2
    block = metric[0, 0] * metric[3, 3] - metric[0, 3] ** 2
    assert jnp.allclose(block, -delta * jnp.sin(theta) ** 2, rtol=1e-12)
