"""Comparison of a Jacobian with JAX's and with finite differences."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import Tracer

from .._orders.lookup import as_ordering
from .._strategy.granularity import as_granularity
from .._strategy.sweep import NO_DERIVATIVE
from .check_references import (
    finite_differences,
    forward,
    FunctionAtPoint,
    Reference,
    reverse,
)
from .check_report import Case, DIFFERENCES, FORWARD, JacobianReport, REVERSE
from .trees import check_callable, of_arrays, output_name, value_and_jacobian


def check_jacobian(
    fun: Any,
    x: Any,
    /,
    *args: Any,
    order: Any = "auto",
    granularity: str = "auto",
    eps: float | None = None,
    **kwargs: Any,
) -> JacobianReport:
    r"""Compares the Jacobian by elimination with JAX's and with finite differences.

    It tests [`eqx_cc.filter_jacobian`][] for one function at one point. JAX's forward
    and reverse mode must agree with it to rounding. The central difference

    $$\frac{f(x + h e_k) - f(x - h e_k)}{2 h} = \frac{\partial f}{\partial x_k}
    + O(h^2) + O(\epsilon / h)$$

    does not depend on rules of differentiation, but it is less accurate, and wrong at
    kinks and jumps. It is computed for $h$ and for $h/2$. An entry is not trusted if
    the two, or the differences to the left and to the right, contradict each other.

    **Arguments:**

    - `fun`: the function, as in [`eqx_cc.filter_jacobian`][].
    - `x`: the point, a PyTree with floating-point arrays.
    - `*args`, `**kwargs`: the other arguments of `fun`.
    - `order`, `granularity`: as in [`eqx_cc.filter_jacobian`][].
    - `eps`: the step $h$ relative to the size of $x_k$, or of its array if that is
        larger. By default the cube root of the precision of the arrays.

    **Returns:**

    A `JacobianReport`. Its `ok` is `True` if the Jacobian agrees with those modes of
    JAX that exist for this function; if there is none, with finite differences. As a
    string it shows the worst entry by each method.

    It raises a `ValueError` if `x` is traced, as it then has no numbers to compare.

    !!! Example

        ```python
        report = eqx_cc.check_jacobian(jnp.cumprod, jnp.arange(1.0, 4.0))
        assert report.ok, str(report)
        ```
    """
    check_callable(fun)
    if eps is not None and not 0 < eps < 1:
        raise ValueError(f"`eps` must be between 0 and 1, but got {eps}.")
    options = as_ordering(order), as_granularity(granularity)
    problem, ours, names = _by_elimination(fun, x, args, kwargs, *options)
    references = {
        FORWARD: _reference(forward, problem),
        REVERSE: _reference(reverse, problem),
        DIFFERENCES: _reference(finite_differences, problem, eps),
    }
    return Case(problem, ours, names, references).report(order)


def _by_elimination(fun, x, args, kwargs, order, granularity):
    """The function at its point, our Jacobian as matrices, and the names of outputs and
    inputs."""
    of_dynamic, inputs = of_arrays(fun, x, args, kwargs)
    if any(isinstance(leaf, Tracer) for leaf in inputs.leaves):
        raise ValueError(
            "`x` must hold numbers for `check_jacobian` to compare, but it is traced. "
            "Call `check_jacobian` outside of `jit`, `vmap` and `grad`."
        )

    @eqx.filter_jit
    def jacobian_at(leaves):
        return value_and_jacobian(
            of_dynamic,
            inputs._replace(leaves=leaves),
            has_aux=False,
            order=order,
            granularity=granularity,
            named=fun,
            structured=False,
        )

    def fun_of_leaves(leaves):
        outs = jtu.tree_leaves(of_dynamic(inputs.unflatten(leaves)))
        return [jnp.asarray(outs[i]) for i in inexact]

    value, _, jacobian = jacobian_at(inputs.leaves)
    keyed, _ = jtu.tree_flatten_with_path(value)
    # Integers have no derivative to compare.
    inexact = [i for i, (_, out) in enumerate(keyed) if eqx.is_inexact_array(out)]
    outs = [keyed[i][1] for i in inexact]
    problem = FunctionAtPoint(fun_of_leaves, inputs.leaves, outs)
    blocks, stride = jtu.tree_leaves(jacobian), len(inputs.leaves)
    ours = problem.matrices([blocks[i * stride : (i + 1) * stride] for i in inexact])
    return problem, ours, ([output_name(keyed[i][0]) for i in inexact], inputs.names)


def _reference(
    method: Callable, problem: FunctionAtPoint, *args: Any
) -> Reference | str:
    """The Jacobian by another method, or the error of JAX that says why not."""
    try:
        return method(problem, *args)
    except NO_DERIVATIVE as e:
        return f"{type(e).__name__}: {e}".partition("\n")[0]
