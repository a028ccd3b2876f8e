"""Reports on the computational graph of a function and its elimination orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax

from .._graph.elimination import Plan, plan
from .._graph.graph import ComputationalGraph
from .._linearise.interpreter import linearise
from .._orders.lookup import as_ordering, Automatic
from .._orders.order import Order
from .._orders.orderings import AbstractOrdering, check_order
from .._scalarise.jacobian import all_entries
from .._strategy.granularity import Granularity
from .._strategy.jacobian_blocks import method_name, trace_function
from .._strategy.methods import Problem
from .plot import plot
from .trees import check_callable, flat_function, Inputs, of_arrays


class Trace(eqx.Module):
    """The result of [`eqx_cc.trace`][].

    **Attributes:**

    - `graph`: the [`eqx_cc.ComputationalGraph`][] of the function. The independents
        are the inexact array leaves of the first argument.

    !!! Example

        ```python
        print(eqx_cc.trace(fun, x))
        ```

        ```text
        Trace(ComputationalGraph(1 inputs, 2 intermediates, 1 outputs, 4 edges))
        ```
    """

    graph: ComputationalGraph = eqx.field(static=True)

    def __repr__(self) -> str:
        return f"Trace({self.graph!r})"


def trace(fun: Callable, x: Any, *args: Any, **kwargs: Any) -> Trace:
    """Traces a function to its computational graph, without evaluating it.

    **Arguments:**

    - `fun`: as for [`eqx_cc.filter_jacobian`][].
    - `x`, `*args`, `**kwargs`: the arguments of `fun`. The values of arrays do not
        matter.

    **Returns:** a `Trace`. The vertices of its `graph` have the numbers that
    `order=[...]` of [`eqx_cc.filter_jacobian`][] and [`eqx_cc.cc_jacobian`][] takes.

    It raises the errors of [`eqx_cc.filter_jacobian`][] for these arguments.

    !!! Example

        ```python
        graph = eqx_cc.trace(fun, x).graph
        print(graph.intermediates)
        eqx_cc.filter_jacobian(fun, order=graph.intermediates[::-1])(x)
        ```

        ```text
        (1, 2)
        ```
    """
    graph = graph_of(fun, (x, *args), kwargs, Automatic())
    assert graph is not None
    return Trace(graph)


def flat_of(fun: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[Callable, Inputs]:
    """The function of the list of arrays in the first argument, and this list."""
    check_callable(fun)
    of_dynamic, inputs = of_arrays(fun, args[0], args[1:], kwargs)
    return flat_function(of_dynamic, inputs, named=fun), inputs


def graph_of(
    fun: Any,
    args: tuple,
    kwargs: dict[str, Any],
    order: AbstractOrdering,
    granularity: Granularity = "array",
) -> ComputationalGraph | None:
    """The graph of a function of its first argument. The bodies of loops are eliminated
    in `order`. Nothing is evaluated.

    With `granularity="auto"` it is the graph of scalars, or None if the default keeps
    arrays as vertices.
    """

    def read(problem):
        return _graph(problem, order)

    return _traced(fun, args, kwargs, granularity, read)


def _traced(
    fun: Any, args: tuple, kwargs: dict[str, Any], granularity: Any, read: Callable
) -> Any:
    """The result of `read(problem)`, while `fun` is traced."""
    flat, inputs = flat_of(fun, args, kwargs)
    results = []

    def run(leaves):
        program, num_outputs, _ = trace_function(flat, leaves)
        results.append(read(Problem(program, num_outputs, leaves, granularity)))

    jax.eval_shape(run, inputs.leaves)
    return results[0]


def _graph(problem: Problem, order: AbstractOrdering) -> ComputationalGraph | None:
    program, leaves = problem.program, problem.leaves
    num_outputs, scalars = problem.num_outputs, problem.scalars(order)
    if scalars is not None:
        program, leaves = scalars.program, all_entries(leaves)
        num_outputs = len(program.outputs)
    elif problem.granularity != "array":
        return None
    return linearise(program, leaves, range(len(leaves)), order, num_outputs).graph


class Explanation(eqx.Module):
    """A report on a function's computational graph and its elimination orders.

    `print` it, or read:

    **Attributes:**

    - `graph`: the [`eqx_cc.ComputationalGraph`][].
    - `order`: the chosen order, a tuple of vertex numbers.
    - `plans`: for `"forward"`, `"reverse"`, `"markowitz"` and `"chosen"`, the plan with
        its `order`, `num_multiplications`, `num_additions`, `num_scalings`, `fill_in`
        and `steps`, each of which has a `vertex` and its `num_multiplications`.
    - `found_by`: the ordering, search or cache that the chosen order comes from.
    - `way`: the method of [`eqx_cc.filter_jacobian`][] with this `order`, when it is
        compiled: `"elimination of arrays"` (this graph), `"elimination of scalars"`
        (the graph of `granularity="scalar"`), or `"forward mode of JAX"` or `"reverse
        mode of JAX"`, which the default uses where it expects elimination to take
        longer.

    !!! Example

        ```python
        report = eqx_cc.explain(fun, x)
        print(report.plans["reverse"].num_multiplications)
        print([step.num_multiplications for step in report.plans["reverse"].steps])
        ```

        ```text
        3
        [0, 3]
        ```
    """

    graph: ComputationalGraph = eqx.field(static=True)
    plans: Mapping[str, Plan] = eqx.field(static=True)
    found_by: str = eqx.field(static=True)
    way: str = eqx.field(static=True)

    @property
    def order(self) -> tuple[int, ...]:
        """The chosen order."""
        return self.plans["chosen"].order

    def plot(self) -> Any:
        """Draws the computational graph with the chosen order, and for every order the
        multiplications up to each elimination. Needs matplotlib (`eqx_cc[plot]`).

        **Returns:** a `matplotlib.figure.Figure`.
        """
        return plot(self.graph, self.plans)

    def __repr__(self) -> str:
        chosen = self.plans["chosen"].num_multiplications
        return (
            f"Explanation({_summary(self.graph)}; chosen order: {chosen} "
            f"multiplications, found by: {self.found_by}; when compiled: {self.way})"
        )

    def __str__(self) -> str:
        listed = " ".join(map(str, self.order)) or "(nothing to eliminate)"
        chosen = (
            f"chosen order: {listed}\n"
            f"found by: {self.found_by}\n"
            f"when compiled: {self.way}"
        )
        sections = [_summary(self.graph), _table(self.plans), chosen]
        return "\n\n".join([*sections, _vertices(self.graph), _fallbacks(self.graph)])


def explain(
    fun: Callable,
    x: Any,
    *args: Any,
    order: str | Sequence[int] | AbstractOrdering = "auto",
    granularity: str = "array",
    **kwargs: Any,
) -> Explanation:
    """Reports the graph of a function, the cost of each elimination order, and the
    method that accumulates the Jacobian. The function is not evaluated.

    **Arguments:**

    - `fun`, `x`, `*args`, `**kwargs`: as for [`eqx_cc.trace`][].
    - `order`: the order to compare with forward, reverse and Markowitz.
    - `granularity`: `"array"` for the graph of arrays, `"scalar"` for the graph of
        their entries, which is used for small functions when they are compiled.

    **Returns:** an `Explanation`: `print` it.

    !!! example

        ```python
        report = eqx_cc.explain(lambda x: jnp.sin(x) * x, jnp.ones(3))
        for order, plan in report.plans.items():
            print(order, plan.num_multiplications)
        ```

        ```text
        forward 3
        reverse 3
        markowitz 3
        chosen 3
        ```
    """
    chosen = as_ordering(order)
    if granularity not in ("array", "scalar"):
        raise ValueError(
            f'`granularity` must be "array" or "scalar" here; got {granularity!r}.'
        )

    def read(problem):
        return _graph(problem, chosen), method_name(problem, chosen)

    graph, way = _traced(fun, (x, *args), kwargs, granularity, read)
    orders = {n: as_ordering(n)(graph) for n in ("forward", "reverse", "markowitz")}
    orders["chosen"] = order = chosen(graph)
    for vertices in orders.values():
        check_order(graph, vertices)
    plans = {name: plan(graph, tuple(vertices)) for name, vertices in orders.items()}
    source = order.found_by if isinstance(order, Order) else type(chosen).__name__
    return Explanation(graph, plans, source, way)


def _summary(graph: ComputationalGraph) -> str:
    return (
        f"{len(graph.independents)} inputs, {len(graph.intermediates)} intermediates, "
        f"{len(graph.dependents)} outputs, {len(graph.edges)} edges"
    )


def _table(plans: Mapping[str, Plan]) -> str:
    heads = "order", "multiplications", "by constants", "additions", "fill-in"
    rows = [
        (name, p.num_multiplications, p.num_scalings, p.num_additions, p.fill_in)
        for name, p in plans.items()
    ]
    return "\n".join(
        f"{row[0]:<10}"
        + "".join(f"{cell:>{len(h) + 3}}" for h, cell in zip(heads[1:], row[1:]))
        for row in (heads, *rows)
    )


def _vertices(graph: ComputationalGraph) -> str:
    lines = ["vertices:"]
    for v in sorted({v for e in graph.edges for v in e} | {*graph.dependents}):
        sources = [str(u) for u, w in graph.edges if w == v]
        blocks = {p.name for (_, w), p in graph.edges.items() if w == v}
        role = " (output)" if v in graph.dependents else ""
        text = f"  {v:>4} {graph.labels[v]}{role}"
        if sources:
            text += f" <- {', '.join(sources)} [{'; '.join(sorted(blocks))}]"
        lines.append(text + (f"  {graph.places[v]}" if graph.places[v] else ""))
    return "\n".join(lines)


def _fallbacks(graph: ComputationalGraph) -> str:
    if not graph.dense_fallbacks:
        return "no equation fell back to a dense block"
    lines = ["equations that fell back to a dense block:"]
    for v in graph.dense_fallbacks:
        lines.append(f"  {v:>4} {graph.labels[v]}  {graph.places[v]}")
    return "\n".join(lines)
