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
from .._jaxpr.closed import is_traced, opened
from .._jaxpr.interpreters import seen_as_call
from .._jaxpr.releases import ClosedJaxpr
from .matrix.ravel import size_of
from .system import of_function


# The most entries of a constant that is kept inside.
_SMALL = 4096


class _Preaccumulated(eqx.Module):
    """A function with the same values, and the same derivatives, accumulated."""

    fun: Callable

    def __call__(self, *args, **kwargs):
        leaves, tree = jtu.tree_flatten((self.fun, args, kwargs))
        where = [i for i, leaf in enumerate(leaves) if eqx.is_array(leaf)]
        arrays = [leaves[i] for i in where]
        box = []

        def flat(*arrays):
            own = list(leaves)
            for i, array in zip(where, arrays):
                own[i] = array
            fun, args, kwargs = jtu.tree_unflatten(tree, own)
            dynamic, static = eqx.partition(fun(*args, **kwargs), eqx.is_array)
            found, out_tree = jtu.tree_flatten(dynamic)
            box.append((out_tree, static))
            return found

        outside, jaxpr = opened(jax.make_jaxpr(flat)(*arrays), _leaves)
        found = function_p.bind(*outside, *arrays, jaxpr=jaxpr)
        out_tree, static = box[0]
        return eqx.combine(jtu.tree_unflatten(out_tree, found), static)

    @property
    def __wrapped__(self):
        return self.fun

    def __get__(self, instance, owner):
        return self if instance is None else eqx.Partial(self, instance)


def _leaves(value: Any) -> bool:
    """Whether what is captured becomes an argument. Small constants stay inside of a
    function, so that zeros and ones among them are known wherever it goes."""
    return is_traced(value) or jnp.size(value) > _SMALL


def preaccumulate(fn: Any) -> Callable:
    r"""A function that is `fn` in every respect, except that its Jacobian is
    accumulated by vertex elimination where many products with it are asked for.

    That is how matrices are materialised by any library: as products with all unit
    vectors, under `jax.vmap`. These find the accumulated Jacobian, and one matrix
    product, in place of a pass over the function for each of them. One Jacobian-vector
    or vector-Jacobian product stays the plain pass that JAX makes of it, and so do
    products with a large Jacobian that is sparse: a pass takes no longer. What is kept
    for later is the point, not the Jacobian.

    It reaches what has no other argument to set: the implicit adjoint of the stages of
    an implicit solver, say.

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

    def fun(own):
        every = list(operands)
        for i, x in zip(active, own):
            every[i] = x
        found = jex.jaxpr_as_fun(jaxpr)(*every)
        return [x for x, aval in zip(found, jaxpr.out_avals) if _is_inexact(aval)]

    return fun, [operands[i] for i in active]


def _is_inexact(aval: Any) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.inexact)


def _split(operands, jaxpr: ClosedJaxpr):
    count = len(jaxpr.in_avals)
    return operands[:count], operands[count:]


def _plain_product(*operands, jaxpr, active, transposed):
    """One pass of forward or reverse mode. After the inputs of the function come the
    tangents of those that are active, or the cotangents of the inexact outputs."""
    point, vectors = _split(operands, jaxpr)
    fun, own = _active_function(point, jaxpr, active)
    if transposed:
        return jax.vjp(fun, own)[1](list(vectors))[0]
    return jax.jvp(fun, (own,), (list(vectors),))[1]


@function_p.def_abstract_eval
def _function_abstract(*avals, jaxpr):
    return list(jaxpr.out_avals)


@product_p.def_abstract_eval
def _product_abstract(*avals, jaxpr, active, transposed):
    if transposed:
        return [jaxpr.in_avals[i] for i in active]
    return [aval for aval in jaxpr.out_avals if _is_inexact(aval)]


def _function_jvp(primals, tangents, *, jaxpr):
    found = function_p.bind(*primals, jaxpr=jaxpr)
    active = [i for i, t in enumerate(tangents) if type(t) is not ad.Zero]
    active = tuple(i for i in active if _is_inexact(jaxpr.in_avals[i]))
    if active:
        vectors = [tangents[i] for i in active]
        params = dict(jaxpr=jaxpr, active=active, transposed=False)
        moved = iter(product_p.bind(*primals, *vectors, **params))
    else:
        moved = iter(())
    zero = lambda x: ad.Zero(jax.typeof(x).to_tangent_aval())  # noqa: E731
    results = [
        next(moved) if active and _is_inexact(aval) else zero(x)
        for aval, x in zip(jaxpr.out_avals, found)
    ]
    return found, results


def _function_batch(operands, dims, *, jaxpr):
    batched = jax.vmap(jex.jaxpr_as_fun(jaxpr), in_axes=tuple(dims))
    made = jax.make_jaxpr(batched)(*operands)
    outside, jaxpr = opened(made, _leaves)
    found = function_p.bind(*outside, *operands, jaxpr=jaxpr)
    return found, [0] * len(found)


def _product_jvp(primals, tangents, **params):
    tangents = tuple(map(ad.instantiate_zeros, tangents))
    return jax.jvp(lambda *xs: _plain_product(*xs, **params), primals, tangents)


def _product_transpose(cotangents, *operands, jaxpr, active, transposed):
    point, vectors = _split(operands, jaxpr)
    assert not any(map(ad.is_undefined_primal, point))
    if all(type(ct) is ad.Zero for ct in cotangents):
        return [None] * len(operands)
    cotangents = map(ad.instantiate_zeros, cotangents)
    found = product_p.bind(
        *point, *cotangents, jaxpr=jaxpr, active=active, transposed=not transposed
    )
    # Vectors that are known stay so: a product is linear in all of them together.
    own = [x if ad.is_undefined_primal(v) else None for x, v in zip(found, vectors)]
    return [None] * len(point) + own


def _product_batch(operands, dims, *, jaxpr, active, transposed):
    point, vectors = _split(operands, jaxpr)
    at_point, own = _split(dims, jaxpr)
    [size] = {x.shape[d] for x, d in zip(operands, dims) if d is not None}
    fun, inputs = _active_function(point, jaxpr, active)
    outputs = [aval for aval in jaxpr.out_avals if _is_inexact(aval)]
    needed = size_of(outputs) if transposed else size_of(inputs)
    is_fixed = all(d is None for d in at_point)
    system = None
    if is_fixed and size >= max(1, needed) and _all_real(inputs, outputs):
        system = of_function(fun, inputs)
    # A sparse Jacobian is of a function that takes no longer than products with it.
    if system is None or system.plan is not None:
        params = dict(jaxpr=jaxpr, active=active, transposed=transposed)
        plain = jax.vmap(lambda *xs: _plain_product(*xs, **params), tuple(dims))
        found = plain(*operands)
        return found, [0] * len(found)
    vectors = [
        jnp.broadcast_to(x, (size, *x.shape)) if d is None else jnp.moveaxis(x, d, 0)
        for x, d in zip(vectors, own)
    ]
    found = _products(system.matrix(), inputs, vectors, outputs, transposed)
    return found, [0] * len(found)


def _all_real(*structs) -> bool:
    return all(jnp.issubdtype(x.dtype, jnp.floating) for x in jtu.tree_leaves(structs))


def _products(matrix, inputs, vectors, outputs, transposed: bool) -> list[jax.Array]:
    """The products of a dense Jacobian with a batch of vectors."""
    size = vectors[0].shape[0]
    dtype = jnp.result_type(*inputs, *outputs)
    rows = [x.reshape(size, -1).astype(dtype) for x in vectors]
    rows = jnp.concatenate(rows, 1) if len(rows) > 1 else rows[0]
    found = rows @ (matrix if transposed else matrix.T)
    results, start = [], 0
    for aval in inputs if transposed else outputs:
        own = found[:, start : start + aval.size]
        results.append(own.reshape(size, *aval.shape).astype(aval.dtype))
        start += aval.size
    return results


def _lower(fun: Callable) -> Callable:
    return mlir.lower_fun(fun, multiple_results=True)


# What is not compiled runs operation by operation, as the function itself would.
function_p.def_impl(_plain)
product_p.def_impl(_plain_product)
ad.primitive_jvps[function_p] = _function_jvp
ad.primitive_jvps[product_p] = _product_jvp
ad.primitive_transposes[product_p] = _product_transpose
batching.primitive_batchers[function_p] = _function_batch
batching.primitive_batchers[product_p] = _product_batch
mlir.register_lowering(function_p, _lower(_plain))
mlir.register_lowering(product_p, _lower(_plain_product))
seen_as_call(function_p, _plain)
seen_as_call(product_p, _plain_product)
