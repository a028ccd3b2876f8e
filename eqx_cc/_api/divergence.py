"""Traces of derivatives, without the matrices: divergence and Laplacian."""

import functools as ft
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jax.tree_util as jtu
from jaxtyping import Array, PyTree

from .._orders.lookup import as_ordering, Automatic, Measured
from .._orders.orderings import AbstractOrdering, Given
from .._strategy.jacobian_blocks import jacobian_trace
from .jacobian import AbstractTransform, MISSING, OrderArgument
from .trees import (
    check_callable,
    check_scalar,
    describe,
    Inputs,
    of_first_argument,
    output_name,
    split_aux,
    takes_a_function,
    value_and_jacobian,
)


class _Trace(AbstractTransform):
    """The trace of the Jacobian of `fun`, or of its gradient."""

    fun: Callable
    has_aux: bool = eqx.field(static=True)
    order: AbstractOrdering = eqx.field(static=True)
    of_gradient: bool = eqx.field(static=True)

    def __call__(self, /, *args, **kwargs):
        fun, inputs = of_first_argument(self.fun, args, kwargs)

        def flat(leaves):
            if self.of_gradient:
                return self._gradient(fun, inputs, leaves)
            output, aux = split_aux(fun(inputs.unflatten(leaves)), self.has_aux)
            return _components(output, inputs), aux

        flat.__wrapped__ = self.fun
        trace, aux = jacobian_trace(flat, inputs.leaves, self.order)
        return (trace, aux) if self.has_aux else trace

    def _gradient(
        self, fun: Callable, inputs: Inputs, leaves: list[Array]
    ) -> tuple[list[Array], PyTree]:
        value, aux, gradient = value_and_jacobian(
            fun,
            inputs._replace(leaves=leaves),
            has_aux=self.has_aux,
            order=Automatic(),
            granularity="array",
            structured=False,
            named=self.fun,
        )
        check_scalar(value)
        return jtu.tree_leaves(gradient), aux


def _components(output: PyTree, inputs: Inputs) -> list[Array]:
    """The floating-point arrays of a vector field, one for each leaf of the inputs."""
    keyed, _ = jtu.tree_flatten_with_path(output)
    for path, leaf in keyed:
        if eqx.is_array(leaf) and jnp.iscomplexobj(leaf):
            raise TypeError(
                "The divergence is defined for real functions, but "
                f"`{output_name(path)}` is {describe(leaf)}. Return the real and the "
                "imaginary part."
            )
    field = eqx.filter(output, eqx.is_inexact_array)
    leaves, tree = jtu.tree_flatten(field)
    shapes = [leaf.shape for leaf in inputs.leaves]
    if tree != inputs.tree or shapes != [leaf.shape for leaf in leaves]:
        raise ValueError(
            "`fun` must return floating-point arrays of the structure and the shapes "
            "of those in its first argument, for the Jacobian to be square, but got "
            f"{describe(field)} for {describe(inputs.unflatten(inputs.leaves))}."
        )
    return [jnp.asarray(leaf) for leaf in leaves]


@takes_a_function
def divergence(
    fun=MISSING, *, has_aux: bool = False, order: OrderArgument = "auto"
) -> Callable[..., Any]:
    r"""Computes the divergence of a vector field: the trace of its Jacobian, without
    the matrix.

    $$\nabla \cdot f = \sum_i \frac{\partial f_i}{\partial x_i}$$

    Elimination stops before the last product $L R$ from an input to its output, whose
    trace is the sum of all $L_{ok} R_{ko}$. For a stencil, only the diagonal is
    computed. A network with one hidden layer takes as many multiplications as it has
    weights. Where forward mode for a few unit vectors at a time is less work, as for
    dense blocks, it is used instead. Both are exact.

    **Arguments:**

    - `fun`: the vector field. Its first argument may be any PyTree; its output must
        have floating-point arrays of the same structure and shapes. Everything else in
        the first argument is held constant, and ignored in the output.
    - `has_aux`: if `True` then `fun` should return a pair `(field, aux)`.
    - `order`: the order of elimination, as in [`eqx_cc.filter_jacobian`][]. An order
        other than `"auto"` always means elimination. `"measured"` is an error.

    If `fun` is left out then a decorator is returned.

    **Returns:**

    A function with the same arguments as `fun`, the first of them positional only. It
    returns the divergence, an array of shape `()`, summed over all arrays; or the pair
    `(divergence, aux)` if `has_aux` is `True`.

    It raises a `ValueError` if structure or shapes of the output differ, and a
    `TypeError` if an array is complex.

    !!! Example

        ```python
        print(eqx_cc.divergence(lambda x: x**2)(jnp.arange(3.0)))  # 0 + 2 + 4
        ```

        ```text
        6.0
        ```
    """
    options = {"has_aux": has_aux, "order": order}
    if fun is MISSING:
        return ft.partial(divergence, **options)
    return _trace(fun, **options, of_gradient=False)


@takes_a_function
def laplacian(
    fun=MISSING, *, has_aux: bool = False, order: OrderArgument = "auto"
) -> Callable[..., Any]:
    r"""Computes the Laplacian of a function: the trace of its Hessian, without the
    matrix.

    $$\Delta f = \sum_i \frac{\partial^2 f}{\partial x_i^2}$$

    It is the [`eqx_cc.divergence`][] of the gradient.

    **Arguments:**

    - `fun`: the function, which returns a number. Its first argument may be any PyTree.
    - `has_aux`: if `True` then `fun` should return a pair `(value, aux)`.
    - `order`: the order in which the graph of the gradient is eliminated, as in
        [`eqx_cc.divergence`][]. It may not be a sequence of vertex numbers: these are
        not those of `fun`.

    If `fun` is left out then a decorator is returned.

    **Returns:**

    A function with the same arguments as `fun`, the first of them positional only. It
    returns the Laplacian, an array of shape `()`, summed over all floating-point arrays
    in the first argument; or the pair `(laplacian, aux)` if `has_aux` is `True`.

    It raises a `ValueError` if the output is not a floating-point number, and a
    `TypeError` if an array in the first argument is complex.

    !!! Example

        ```python
        print(eqx_cc.laplacian(lambda x: jnp.sum(x**3))(jnp.arange(3.0)))  # 0 + 6 + 12
        ```

        ```text
        18.0
        ```

    ??? cite "Reference"

        R. Li, H. Ye, D. Jiang, X. Wen, C. Wang, Z. Li, X. Li, D. He, J. Chen, W. Ren
        and L. Wang. A computational framework for neural network-based variational
        Monte Carlo with Forward Laplacian. *Nature Machine Intelligence*, 6:209-219,
        2024.
    """
    options = {"has_aux": has_aux, "order": order}
    if fun is MISSING:
        return ft.partial(laplacian, **options)
    if isinstance(as_ordering(order), Given):
        raise ValueError(
            "`order` must not be a sequence of vertex numbers for a Laplacian, but got "
            f"{order!r}: it is the graph of the gradient that is eliminated."
        )
    return _trace(fun, **options, of_gradient=True)


def _trace(fun: Any, *, has_aux: Any, order: Any, of_gradient: bool):
    check_callable(fun)
    order = as_ordering(order)
    if isinstance(order, Measured):
        raise ValueError(
            '`order="measured"` compares methods for a dense Jacobian, of which a '
            "trace needs the diagonal alone. Leave it out."
        )
    return _Trace.of(fun, has_aux=has_aux, order=order, of_gradient=of_gradient)
