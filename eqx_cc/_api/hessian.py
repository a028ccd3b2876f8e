"""Hessians: the Jacobian of the Jacobian, dense or structured, whole or a triangle."""

import functools as ft
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.tree_util as jtu

from .._blocks.algebra import one_triangle, zero
from .._blocks.partial import Partial
from .._orders.lookup import as_ordering
from .._orders.orderings import Given
from .jacobian import AbstractTransform, MISSING, OrderArgument, transformed
from .trees import check_callable, check_scalar, split_aux, takes_a_function


class _FilterHessian(AbstractTransform):
    """The second derivatives of `fun`, by the Jacobian of `jacobian`, which returns the
    pair `(jacobian of fun, (value, aux))`."""

    fun: Callable
    second: Callable
    has_aux: bool = eqx.field(static=True)
    with_value: bool = eqx.field(static=True)
    triangle: str | None = eqx.field(static=True)

    def __call__(self, /, *args, **kwargs):
        (first, (value, aux)), hessian = self.second(*args, **kwargs)
        if self.triangle is not None:
            sign = 1 if self.triangle == "lower" else -1
            hessian = _one_triangle(hessian, first, value, sign)
        if self.with_value:
            check_scalar(value)
            return ((value, aux) if self.has_aux else value), first, hessian
        return (hessian, aux) if self.has_aux else hessian


@takes_a_function
def filter_hessian(
    fun=MISSING,
    *,
    has_aux: bool = False,
    order: OrderArgument = "auto",
    granularity: str = "auto",
    structured: bool = False,
    triangle: str | None = None,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    r"""Computes the Hessian of `fun`, the Jacobian of its Jacobian, both by
    cross-country elimination.

    It is the Jacobian of the Jacobian. For an output leaf $y_i$ and input leaves $x_j$
    and $x_k$ it has the block $\partial^2 y_i / \partial x_j \partial x_k$.

    **Arguments:**

    - `fun`, `has_aux`: as in [`eqx_cc.filter_jacobian`][].
    - `order`: the order of elimination, of `fun` and of its Jacobian. These have
        different graphs, so that it may not be a sequence of vertex numbers: nest
        [`eqx_cc.filter_jacobian`][] to choose an order for each.
    - `granularity`: as in [`eqx_cc.filter_jacobian`][], for both.
    - `structured`: if `True` then the blocks are [`eqx_cc.Partial`][]s in place of
        dense arrays, as in [`eqx_cc.cc_jacobian`][].
    - `triangle`: `"lower"` or `"upper"`, with `structured=True`, for one triangle of
        the symmetric matrix over all arrays of the first argument, one after the other.
        Entries on the other side of the diagonal are not stored, and `jax.jit` removes
        their products where they are blocks, bands or diagonals of their own.
    - `chunk_size`: as in [`eqx_cc.filter_jacobian`][], of the Hessian alone.

    **Returns:**

    A function with the same arguments as `fun`, the first of them positional only. If
    `has_aux` is `False` it returns the Hessian, a PyTree of the structure of the
    output, of PyTrees of the structure of the first argument, of PyTrees of the same
    structure. The arrays have shape `(*output.shape, *input.shape, *input.shape)`. If
    `has_aux` is `True` it returns the pair `(hessian, aux)`.

    !!! Example

        ```python
        print(eqx_cc.filter_hessian(lambda x: x[0] * x[1])(jnp.ones(2)))
        energy = lambda x: jnp.sum((x[1:] - x[:-1] ** 2) ** 2)
        lower = eqx_cc.filter_hessian(energy, structured=True, triangle="lower")(x)
        print(lower.data, lower.rows, lower.cols)
        ```

        ```text
        [[0. 1.]
         [1. 0.]]
        [ 4. -4. 38. -8.  2.] [0 1 1 2 2] [0 0 1 1 2]
        ```

    ??? cite "Reference"

        A. Griewank and A. Walther. *Evaluating Derivatives: Principles and Techniques
        of Algorithmic Differentiation*, chapter 5. SIAM, 2nd edition, 2008.
    """
    options = {"has_aux": has_aux, "order": order, "granularity": granularity}
    options |= {"structured": structured, "triangle": triangle}
    options["chunk_size"] = chunk_size
    if fun is MISSING:
        return ft.partial(filter_hessian, **options)
    return _filter_hessian(fun, **options, with_value=False)


@takes_a_function
def filter_value_grad_and_hessian(
    fun=MISSING,
    *,
    has_aux: bool = False,
    order: OrderArgument = "auto",
    granularity: str = "auto",
    structured: bool = False,
    triangle: str | None = None,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    r"""Computes `fun(x)`, its gradient and its Hessian at `x`, in one program.

    The triple $(f, \nabla f, \nabla^2 f)$ of a function that returns a number costs no
    more than its Hessian.

    **Arguments:**

    As [`eqx_cc.filter_hessian`][].

    **Returns:**

    A function with the same arguments as `fun`, the first of them positional only. If
    `has_aux` is `False` it returns the triple `(value, gradient, hessian)`, with
    PyTrees as in [`eqx_cc.filter_jacobian`][] and [`eqx_cc.filter_hessian`][]. If
    `has_aux` is `True` it returns `((value, aux), gradient, hessian)`.

    It raises a `ValueError` if the output is not a floating-point number.

    !!! Example

        ```python
        newton = eqx_cc.filter_value_grad_and_hessian(lambda x: jnp.sum(jnp.cosh(x)))
        value, gradient, hessian = newton(jnp.zeros(2))
        print(value, gradient, hessian[0], hessian[1])
        ```

        ```text
        2.0 [0. 0.] [1. 0.] [0. 1.]
        ```
    """
    options = {"has_aux": has_aux, "order": order, "granularity": granularity}
    options |= {"structured": structured, "triangle": triangle}
    options["chunk_size"] = chunk_size
    if fun is MISSING:
        return ft.partial(filter_value_grad_and_hessian, **options)
    return _filter_hessian(fun, **options, with_value=True)


def _filter_hessian(
    fun: Any,
    *,
    has_aux: Any,
    order: Any,
    granularity: Any,
    structured: Any,
    triangle: Any,
    chunk_size: Any,
    with_value: bool,
):
    check_callable(fun)
    if isinstance(as_ordering(order), Given):
        raise ValueError(
            "`order` must not be a sequence of vertex numbers for a Hessian, but got "
            f"{order!r}: a function and its Jacobian have different graphs. Nest "
            "`filter_jacobian` to choose an order for each."
        )
    _check_triangle(triangle, structured)
    options = {"order": order, "granularity": granularity}
    # Arrays that are split into entries have no structure left to be seen.
    inner = options | {"granularity": "array"} if structured else options
    first = transformed(fun, has_aux=has_aux, **inner, with_value=True)
    second = transformed(
        _JacobianFirst.of(fun, jacobian=first, has_aux=has_aux),
        has_aux=True,
        **options,
        structured=structured,
        chunk_size=chunk_size,
        with_value=True,
    )
    return _FilterHessian.of(
        fun,
        second=second,
        has_aux=has_aux,
        with_value=with_value,
        triangle=triangle,
    )


class _JacobianFirst(AbstractTransform):
    """The pair `(jacobian, (value, aux))` of what `jacobian` returns otherwise."""

    fun: Callable
    jacobian: Callable
    has_aux: bool = eqx.field(static=True)

    def __call__(self, /, *args, **kwargs):
        result, jacobian = self.jacobian(*args, **kwargs)
        return jacobian, split_aux(result, self.has_aux)


def _check_triangle(triangle: Any, structured: bool) -> None:
    if triangle not in (None, "lower", "upper"):
        raise ValueError(
            f'`triangle` must be "lower", "upper" or None, but got {triangle!r}.'
        )
    if triangle is not None and not structured:
        raise ValueError(
            f"`triangle={triangle!r}` is for `structured=True`: a dense array has room "
            "for both triangles. Use `jnp.tril` or `jnp.triu`."
        )


def _one_triangle(hessian: Any, first: Any, value: Any, sign: int) -> Any:
    """One triangle of the matrix over all inputs, of each output."""
    rows = jtu.tree_leaves(first)
    num_inputs = len(rows) // max(1, len(jtu.tree_leaves(value)))
    blocks, whole = jtu.tree_flatten(hessian, is_leaf=lambda x: isinstance(x, Partial))
    sides = [
        sign * (row % num_inputs - column)
        for row in range(len(rows))
        for column in range(num_inputs)
    ]
    return jtu.tree_unflatten(whole, map(_part, blocks, sides, [sign] * len(sides)))


def _part(block: Partial, side: int, sign: int) -> Partial:
    if side != 0:
        return block if side > 0 else zero(block)
    return one_triangle(block, sign)
