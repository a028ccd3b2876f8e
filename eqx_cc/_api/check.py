"""A second and a third opinion on a Jacobian, at the user's own point."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.core import Tracer

from .._orders.lookup import as_ordering
from .._strategy.granularity import as_granularity
from .check_references import finite_differences, forward, Problem, reverse, Verdict
from .check_report import Case, DIFFERENCES, FORWARD, JacobianReport, REVERSE
from .trees import check_callable, filter_inputs, output_name, value_and_jacobian


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

    It is for users who want to see for themselves, at their own point, that
    [`eqx_cc.filter_jacobian`][] is right. JAX's forward and reverse mode must agree
    with it to rounding. The central difference

    $$\frac{f(x + h e_k) - f(x - h e_k)}{2 h} = \frac{\partial f}{\partial x_k}
    + O(h^2) + O(\epsilon / h)$$

    knows nothing of rules of differentiation, but it is less accurate, and wrong at
    kinks and jumps. It is taken with $h$ and with $h/2$; entries at which these two, or
    the differences to the left and to the right, do not fit each other are not trusted.

    **Arguments:**

    - `fun`: the function, as in [`eqx_cc.filter_jacobian`][].
    - `x`: the point, a PyTree with floating-point arrays.
    - `*args`, `**kwargs`: passed on to `fun`.
    - `order`, `granularity`: as in [`eqx_cc.filter_jacobian`][].
    - `eps`: the step $h$ relative to the size of $x_k$, or of its array if that is
        larger. By default the cube root of the precision of the arrays.

    **Returns:**

    A `JacobianReport`, whose `ok` is `True` if we agree with those modes of JAX that
    exist for this function. Finite differences decide only if there is none. As a
    string it names the worst entry, and what each method makes of it.

    It raises a `ValueError` if `x` is traced, for there are no numbers to compare then.

    !!! Example

        ```python
        report = eqx_cc.check_jacobian(jnp.cumprod, jnp.arange(1.0, 4.0))
        assert report.ok, str(report)
        ```
    """
    check_callable(fun)
    _check_step(eps)
    how = as_ordering(order), as_granularity(granularity)
    problem, ours, names = _accumulate(fun, x, args, kwargs, *how)
    verdicts = {
        FORWARD: _attempt(forward, problem),
        REVERSE: _attempt(reverse, problem),
        DIFFERENCES: _attempt(finite_differences, problem, eps),
    }
    return Case(problem, ours, names, verdicts).report(order)


def _check_step(eps: float | None) -> None:
    if eps is not None and not 0 < eps < 1:
        raise ValueError(f"`eps` must be between 0 and 1, but got {eps}.")


def _accumulate(fun, x, args, kwargs, order, granularity):
    inputs, static = filter_inputs(x)
    if any(isinstance(leaf, Tracer) for leaf in inputs.leaves):
        raise ValueError(
            "`x` must hold numbers for `check_jacobian` to compare, but it is traced. "
            "Call `check_jacobian` outside of `jit`, `vmap` and `grad`."
        )

    def of_dynamic(dynamic):
        return fun(eqx.combine(dynamic, static), *args, **kwargs)

    @eqx.filter_jit
    def accumulate(leaves):
        at = inputs._replace(leaves=leaves)
        return value_and_jacobian(
            of_dynamic,
            at,
            has_aux=False,
            order=order,
            granularity=granularity,
            named=fun,
            structured=False,
        )

    def fun_of_leaves(leaves):
        outs = jtu.tree_leaves(of_dynamic(inputs.unflatten(leaves)))
        return [jnp.asarray(outs[i]) for i in kept]

    value, _, jacobian = accumulate(inputs.leaves)
    keyed, _ = jtu.tree_flatten_with_path(value)
    # The derivative of an integer is nothing to compare.
    kept = [i for i, (_, out) in enumerate(keyed) if eqx.is_inexact_array(out)]
    problem = Problem(fun_of_leaves, inputs.leaves, [keyed[i][1] for i in kept])
    blocks, stride = jtu.tree_leaves(jacobian), len(inputs.leaves)
    ours = problem.matrices([blocks[i * stride : (i + 1) * stride] for i in kept])
    return problem, ours, ([output_name(keyed[i][0]) for i in kept], inputs.names)


def _attempt(referee: Callable, problem: Problem, *args: Any) -> Verdict | str:
    # Each mode of JAX has its own ways of saying that it does not exist.
    try:
        return referee(problem, *args)
    except Exception as e:
        return f"{type(e).__name__}: {e}".partition("\n")[0]
