"""Functions whose Jacobian is accumulated when many products with it are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import jax.tree_util as jtu
from jax.interpreters import ad, batching, mlir

from .._api.trees import check_callable
from .._jaxpr.avals import is_inexact
from .._jaxpr.closed import is_traced, lift_constants
from .._jaxpr.interpreters import register_as_call
from .._jaxpr.releases import ClosedJaxpr
from .matrix.ravel import is_real, size_of
from .system import of_function


# The most entries of a constant that is kept inside.
_MOST_CONSTANT = 4096


class _Preaccumulated(eqx.Module):
    """A function with the same values, and the same derivatives, accumulated."""

    fun: Callable

    def __call__(self, *args, **kwargs):
        leaves, tree = jtu.tree_flatten((self.fun, args, kwargs))
        places = [i for i, leaf in enumerate(leaves) if eqx.is_array(leaf)]
        arrays = [leaves[i] for i in places]
        box = []

        def flat(*arrays):
            filled = _replaced(leaves, places, arrays)
            fun, args, kwargs = jtu.tree_unflatten(tree, filled)
            dynamic, static = eqx.partition(fun(*args, **kwargs), eqx.is_array)
            outputs, out_tree = jtu.tree_flatten(dynamic)
            box.append((out_tree, static))
            return outputs

        outputs = _bind(jax.make_jaxpr(flat)(*arrays), arrays)
        out_tree, static = box[0]
        return eqx.combine(jtu.tree_unflatten(out_tree, outputs), static)

    @property
    def __wrapped__(self):
        return self.fun

    def __get__(self, instance, owner):
        return self if instance is None else eqx.Partial(self, instance)


def _bind(closed: ClosedJaxpr, arrays) -> list[jax.Array]:
    """Binds the primitive, with traced and large constants as arguments. Small ones
    stay inside, so that zeros and ones among them are known wherever it goes."""
    is_argument = lambda x: is_traced(x) or jnp.size(x) > _MOST_CONSTANT  # noqa: E731
    constants, jaxpr = lift_constants(closed, is_argument)
    return function_p.bind(*constants, *arrays, jaxpr=jaxpr)


def _replaced(values: Sequence[Any], places: Sequence[int], new) -> list[Any]:
    """The values with new ones at some places."""
    replaced = list(values)
    for place, value in zip(places, new):
        replaced[place] = value
    return replaced


def preaccumulate(fn: Any) -> Callable:
    r"""Wraps `fn` so that its Jacobian is accumulated by vertex elimination where many
    products with it are computed at once.

    Libraries materialise a matrix as products with all unit vectors, under `jax.vmap`.
    With this wrapper, these products come from an accumulated Jacobian. A single
    Jacobian-vector or vector-Jacobian product is still one pass of JAX, and so are
    products with a large sparse Jacobian, for which a pass takes no longer. Only the
    point is stored for later, not the Jacobian.

    Use it where there is no linear solver to set, such as the implicit adjoint of the
    stages of an implicit solver.

    **Arguments:**

    - `fn`: any function that JAX differentiates, an `equinox.Module` for example. It is
        differentiated with respect to all arrays in its arguments, in itself, and in
        what it closes over.

    **Returns:**

    A function with the same arguments and the same result, an `equinox.Module` with
    the arrays of `fn` in it.

    !!! Example

        ```python
        term = diffrax.ODETerm(eqx_cc.preaccumulate(vector_field))
        ```

    ??? cite "Reference"

        J. Utke, U. Naumann, M. Fagan, N. Tallent, M. Strout, P. Heimbach, C. Hill and
        C. Wunsch. OpenAD/F: A modular open-source tool for automatic differentiation
        of Fortran programs. *ACM Transactions on Mathematical Software*, 34(4), 2008.
    """
    check_callable(fn)
    return eqx.module_update_wrapper(_Preaccumulated(fn))


#
# The function, and a product with its Jacobian
#

function_p = jex.Primitive("preaccumulated")
function_p.multiple_results = True
product_p = jex.Primitive("jacobian_product")
product_p.multiple_results = True


def _plain(*operands, jaxpr: ClosedJaxpr):
    return jex.jaxpr_as_fun(jaxpr)(*operands)


def _active_function(operands, jaxpr: ClosedJaxpr, active: Sequence[int]):
    """The inexact outputs as a function of the inputs that are `active`."""

    def fun(inputs):
        outputs = jex.jaxpr_as_fun(jaxpr)(*_replaced(operands, active, inputs))
        return [x for x, aval in zip(outputs, jaxpr.out_avals) if is_inexact(aval)]

    return fun, [operands[i] for i in active]


def _split(operands, jaxpr: ClosedJaxpr):
    count = len(jaxpr.in_avals)
    return operands[:count], operands[count:]


def _plain_product(*operands, jaxpr, active, transposed):
    """A pass of forward or reverse mode. After the inputs of the function come the
    tangents of those that are active, or the cotangents of the inexact outputs."""
    point, vectors = _split(operands, jaxpr)
    fun, inputs = _active_function(point, jaxpr, active)
    if transposed:
        return jax.vjp(fun, inputs)[1](list(vectors))[0]
    return jax.jvp(fun, (inputs,), (list(vectors),))[1]


@function_p.def_abstract_eval
def _function_abstract(*avals, jaxpr):
    return list(jaxpr.out_avals)


@product_p.def_abstract_eval
def _product_abstract(*avals, jaxpr, active, transposed):
    if transposed:
        return [jaxpr.in_avals[i] for i in active]
    return [aval for aval in jaxpr.out_avals if is_inexact(aval)]


def _function_jvp(primals, tangents, *, jaxpr):
    outputs = function_p.bind(*primals, jaxpr=jaxpr)
    active = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero]
    active = tuple(i for i in active if is_inexact(jaxpr.in_avals[i]))
    if active:
        vectors = [tangents[i] for i in active]
        params = dict(jaxpr=jaxpr, active=active, transposed=False)
        products = iter(product_p.bind(*primals, *vectors, **params))
    else:
        products = iter(())
    zero = lambda x: ad.Zero(jax.typeof(x).to_tangent_aval())  # noqa: E731
    results = [
        next(products) if active and is_inexact(aval) else zero(x)
        for aval, x in zip(jaxpr.out_avals, outputs)
    ]
    return outputs, results


def _function_batch(operands, dims, *, jaxpr):
    batched = jax.vmap(jex.jaxpr_as_fun(jaxpr), in_axes=tuple(dims))
    outputs = _bind(jax.make_jaxpr(batched)(*operands), operands)
    return outputs, [0] * len(outputs)


def _product_jvp(primals, tangents, **params):
    tangents = tuple(map(ad.instantiate_zeros, tangents))
    return jax.jvp(lambda *xs: _plain_product(*xs, **params), primals, tangents)


def _product_transpose(cotangents, *operands, jaxpr, active, transposed):
    point, vectors = _split(operands, jaxpr)
    assert not any(map(ad.is_undefined_primal, point))
    if all(type(ct) is ad.Zero for ct in cotangents):
        return [None] * len(operands)
    cotangents = map(ad.instantiate_zeros, cotangents)
    products = product_p.bind(
        *point, *cotangents, jaxpr=jaxpr, active=active, transposed=not transposed
    )
    # Vectors that are known stay so: a product is linear in all of them together.
    pairs = zip(products, vectors)
    results = [x if ad.is_undefined_primal(v) else None for x, v in pairs]
    return [None] * len(point) + results


def _product_batch(operands, dims, *, jaxpr, active, transposed):
    point, vectors = _split(operands, jaxpr)
    point_dims, vector_dims = _split(dims, jaxpr)
    [size] = {x.shape[d] for x, d in zip(operands, dims) if d is not None}
    fun, inputs = _active_function(point, jaxpr, active)
    outputs = [aval for aval in jaxpr.out_avals if is_inexact(aval)]
    needed = size_of(outputs) if transposed else size_of(inputs)
    is_fixed = all(d is None for d in point_dims)
    recipe = None
    if is_fixed and size >= max(1, needed) and is_real(inputs, outputs):
        recipe = of_function(fun, inputs)
    # A sparse Jacobian is of a function that takes no longer than products with it.
    if recipe is None or recipe.factorisation is not None:
        params = dict(jaxpr=jaxpr, active=active, transposed=transposed)
        plain = jax.vmap(lambda *xs: _plain_product(*xs, **params), tuple(dims))
        products = plain(*operands)
        return products, [0] * len(products)
    vectors = [
        jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(vectors, vector_dims)
    ]
    dtype = jnp.result_type(*inputs, *outputs)
    matrix = recipe.matrix()
    matrix, structs = (matrix, inputs) if transposed else (matrix.T, outputs)
    products = _products(vectors, matrix, structs, dtype)
    return products, [0] * len(products)


def _products(vectors, matrix, structs, dtype) -> list[jax.Array]:
    """The products of a batch of vectors with a dense matrix."""
    size = vectors[0].shape[0]
    rows = [x.reshape(size, -1).astype(dtype) for x in vectors]
    rows = jnp.concatenate(rows, 1) if len(rows) > 1 else rows[0]
    products, results, start = rows @ matrix, [], 0
    for aval in structs:
        columns = products[:, start : start + aval.size]
        results.append(columns.reshape(size, *aval.shape).astype(aval.dtype))
        start += aval.size
    return results


# What is not compiled runs operation by operation, as the function itself would.
for _primitive, _fun in ((function_p, _plain), (product_p, _plain_product)):
    _primitive.def_impl(_fun)
    mlir.register_lowering(_primitive, mlir.lower_fun(_fun, multiple_results=True))
    register_as_call(_primitive, _fun)
ad.primitive_jvps[function_p] = _function_jvp
ad.primitive_jvps[product_p] = _product_jvp
ad.primitive_transposes[product_p] = _product_transpose
batching.primitive_batchers[function_p] = _function_batch
batching.primitive_batchers[product_p] = _product_batch
