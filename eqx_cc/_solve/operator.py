"""The Jacobian of a function as a linear operator of lineax."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import jax
import jax.tree_util as jtu
import lineax as lx
import numpy as np
from jaxtyping import Array, Num, PyTree

from .._api.trees import check_callable
from .._jaxpr.closed import TracedFunction
from .._jaxpr.program import flatten
from .._strategy.sweep import directions
from .block_operator import BlockOperator
from .matrix.assemble import Matrix, to_dense
from .matrix.ravel import is_real, size_of
from .matrix.structure import Structure
from .matrix.tags import CHECKS, tags_by_bands
from .system import MOST_ENTRIES, of_leaves, of_operator, sparse_matrix


class JacobianOperator(lx.AbstractLinearOperator):
    """The Jacobian of a function. A product with it uses forward mode; its matrix is
    accumulated by vertex elimination.

    It is made by [`eqx_cc.jacobian_operator`][].

    Its matrix has the shape `(size of the output, size of y)`.

    !!! Example

        ```python
        operator = eqx_cc.jacobian_operator(fn, y)
        print(operator.mv(vector).shape, operator.as_matrix().shape)
        ```

        ```text
        (3,) (3, 3)
        ```
    """

    jacobian: lx.JacobianLinearOperator

    @property
    def tags(self) -> frozenset[object]:
        """The tags of lineax that are set."""
        return self.jacobian.tags

    def mv(self, vector):
        """A product with the Jacobian."""
        return self.jacobian.mv(vector)

    def as_matrix(self):
        """The dense Jacobian, over the ravelled input and output."""
        return to_dense(_matrix(self))

    def transpose(self):
        """The transposed operator."""
        return self if lx.is_symmetric(self) else self.jacobian.transpose()

    def in_structure(self):
        """The structure of the input."""
        return self.jacobian.in_structure()

    def out_structure(self):
        """The structure of the output."""
        return self.jacobian.out_structure()


def jacobian_operator(
    fn: Any, y: PyTree, args: PyTree = None, *, tags: object | Iterable[object] = ()
) -> JacobianOperator:
    r"""The Jacobian $\partial f(y, \text{args}) / \partial y$ as a linear operator of
    [lineax](https://docs.kidger.site/lineax/), with the structure that elimination
    finds in it.

    It replaces `lineax.JacobianLinearOperator`. Its matrix is accumulated by vertex
    elimination when it is needed. It has lineax's tags for diagonal, tridiagonal and
    triangular matrices where its pattern is of this kind, so that the solvers of lineax
    can use them. It composes with other operators, as in
    `lx.IdentityLinearOperator(structure) - h * operator`, of which
    [`eqx_cc.EliminationSolver`][] finds the structure again.

    **Arguments:**

    - `fn`: the function, called as `fn(y, args)`.
    - `y`: the point, a PyTree of floating-point arrays.
    - `args`: passed to `fn`; not differentiated.
    - `tags`: additional tags of the Jacobian, such as `lx.symmetric_tag`. They are not
        checked.

    **Returns:**

    A `lineax.AbstractLinearOperator`, which `lx.linear_solve`, `lx.linearise`,
    `lx.materialise`, `lx.diagonal`, `lx.tridiagonal` and `lx.conj` know. A product with
    it is one of forward mode; of a function with a `jax.custom_vjp`, which has none, it
    is a transposed product of reverse mode, as with `jac="bwd"` in lineax.

    !!! Example

        ```python
        operator = eqx_cc.jacobian_operator(lambda y, args: jnp.sin(y), jnp.ones(3))
        lx.is_diagonal(operator)  # True
        ```
    """
    check_callable(fn)
    operator = lx.JacobianLinearOperator(fn, y, args, tags)
    tags = operator.tags | _tags_by_pattern(operator)
    jac = None if _has_forward_mode(operator) else "bwd"
    if tags != operator.tags or jac is not None:
        operator = lx.JacobianLinearOperator(
            operator.fn, operator.x, args, tags, jac, closure_convert=False
        )
    return JacobianOperator(operator)


def _is_real(operator: lx.AbstractLinearOperator) -> bool:
    return is_real(operator.in_structure(), operator.out_structure())


def _tags_by_pattern(operator: lx.JacobianLinearOperator) -> frozenset[object]:
    """The tags that the pattern of a Jacobian shows."""
    size = size_of(operator.in_structure())
    if not _is_real(operator) or size != size_of(operator.out_structure()):
        return frozenset()
    limit = min(MOST_ENTRIES, 0.75 * size**2 + size)
    traced = sparse_matrix(*_of_leaves(operator), lambda count: count <= limit)
    struct = None if traced is None else traced.struct
    if struct is None or struct.rank > 0:
        return frozenset()
    return tags_by_bands(*Structure.of(struct.positions).bandwidths())


def _has_forward_mode(operator: lx.JacobianLinearOperator) -> bool:
    """True if JAX has a forward mode of the function."""
    closed = TracedFunction(*_of_leaves(operator)).closed
    program = flatten(closed.jaxpr, closed.consts)
    return "forward" in directions(program, len(closed.out_avals))


def _of_leaves(operator: lx.JacobianLinearOperator) -> tuple[Callable, list[Array]]:
    return of_leaves(lambda x: operator.fn(x, operator.args), operator.x)


#
# Functions of lineax that take an operator
#


_Operator: TypeAlias = JacobianOperator | BlockOperator


def _matrix(operator: _Operator) -> Matrix | Array:
    if isinstance(operator, BlockOperator):
        matrix = operator.matrix()
        assert matrix is not None
        return matrix
    if _is_real(operator):
        return of_operator(operator.jacobian).matrix()
    return operator.jacobian.as_matrix()


def _entries(operator: _Operator, rows, columns) -> Num[Array, " k"]:
    """The entries of the Jacobian at static positions."""
    matrix = _matrix(operator)
    if isinstance(matrix, Matrix) and matrix.rank == 0:
        return matrix.at(rows, columns)
    return to_dense(matrix)[rows, columns]


@lx.linearise.register(JacobianOperator)
def _(operator):
    return lx.linearise(operator.jacobian)


@lx.linearise.register(BlockOperator)
def _(operator):
    return operator


@lx.diagonal.register(BlockOperator)
@lx.diagonal.register(JacobianOperator)
def _(operator):
    index = np.arange(operator.in_size())
    return _entries(operator, index, index)


@lx.tridiagonal.register(BlockOperator)
@lx.tridiagonal.register(JacobianOperator)
def _(operator):
    index = np.arange(operator.in_size())
    rows = np.concatenate([index, index[1:], index[:-1]])
    columns = np.concatenate([index, index[:-1], index[1:]])
    entries = _entries(operator, rows, columns)
    size, below = len(index), max(0, len(index) - 1)
    return entries[:size], entries[size : size + below], entries[size + below :]


@lx.materialise.register(BlockOperator)
@lx.materialise.register(JacobianOperator)
def _(operator):
    taken, returned = operator.in_structure(), operator.out_structure()
    (a, tree), (b, _) = jtu.tree_flatten(taken), jtu.tree_flatten(returned)
    single = len(a) == len(b) == 1 and tree == jtu.tree_structure(0)
    if single and a[0].shape == b[0].shape and len(a[0].shape) == 1:
        if lx.is_diagonal(operator):
            return lx.DiagonalLinearOperator(lx.diagonal(operator))
        if lx.is_tridiagonal(operator):
            return lx.TridiagonalLinearOperator(*lx.tridiagonal(operator))
    blocks = _in_blocks(operator.as_matrix(), taken, returned)
    return lx.PyTreeLinearOperator(blocks, returned, operator.tags)


def _in_blocks(matrix: jax.Array, taken: PyTree, returned: PyTree) -> PyTree:
    """A matrix as a PyTree, like the output, of PyTrees like the input."""
    (ins, in_tree), (outs, out_tree) = map(jtu.tree_flatten, (taken, returned))
    rows = np.cumsum([0, *(math.prod(x.shape) for x in outs)])
    columns = np.cumsum([0, *(math.prod(x.shape) for x in ins)])

    def block(i, j):
        entries = matrix[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
        return entries.reshape(*outs[i].shape, *ins[j].shape)

    blocks = [
        jtu.tree_unflatten(in_tree, [block(i, j) for j in range(len(ins))])
        for i in range(len(outs))
    ]
    return jtu.tree_unflatten(out_tree, blocks)


@lx.conj.register(JacobianOperator)
def _(operator):
    return operator if _is_real(operator) else lx.conj(operator.jacobian)


@lx.conj.register(BlockOperator)
def _(operator):
    return operator.conjugate


def _register(check: Callable, tag: object) -> None:
    @check.register(JacobianOperator)  # pyright: ignore
    def _(operator):
        return check(operator.jacobian)

    @check.register(BlockOperator)  # pyright: ignore
    def _(operator):
        return tag in operator.tags


for _check, _tag in CHECKS.items():
    _register(_check, _tag)
