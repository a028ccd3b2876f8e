"""The transforms: Jacobians and Hessians of functions of PyTrees."""

import abc
import functools as ft
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import equinox as eqx
from jax.tree_util import keystr

from .._orders.lookup import as_ordering
from .._orders.orderings import AbstractOrdering
from .._strategy.granularity import as_granularity, Granularity
from .options import check_options
from .trees import (
    argument_positions,
    check_argnums,
    check_callable,
    check_holomorphic,
    flatten_inputs,
    Inputs,
    of_first_argument,
    takes_a_function,
    value_and_jacobian,
)


class _Missing:
    def __repr__(self) -> str:  # As signatures in the documentation show it.
        return "sentinel"


# `fun` is left out when a transform is used as a decorator with arguments. It has no
# annotation below because `check_callable` has the better error.
MISSING: Any = _Missing()

OrderArgument: TypeAlias = str | Sequence[int] | AbstractOrdering


class AbstractTransform(eqx.Module):
    """A transformed function. It wraps `fun`, binds as a method, and can be jitted."""

    fun: eqx.AbstractVar[Callable]

    @classmethod
    def of(cls, fun: Callable, **fields: Any) -> Callable[..., Any]:
        """The transform, with the name and the documentation of `fun`."""
        with warnings.catch_warnings():
            # Equinox warns of `jax.vmap(module)` as an attribute, as its parameters
            # would not be updated there. Those of a transform never are.
            warnings.filterwarnings(
                "ignore", r"\s*Possibly assigning a JAX-transformed"
            )
            return eqx.module_update_wrapper(cls(fun=fun, **fields))

    @abc.abstractmethod
    def __call__(self, /, *args, **kwargs): ...

    @property
    def __wrapped__(self):
        return self.fun

    def __get__(self, instance, owner):
        return self if instance is None else eqx.Partial(self, instance)

    def __repr__(self):
        name = getattr(self.fun, "__qualname__", type(self.fun).__name__)
        return f"<{type(self).__name__.lstrip('_')} of {name}>"

    def __eq__(self, other):  # Modules compare arrays, and `jax.jit` asks for it.
        return self is other or super().__eq__(other)

    def __hash__(self):
        # `jax.jit` hashes the function that it compiles, and arrays have no hash.
        try:
            return super().__hash__()
        except TypeError:
            return id(self)


class _FilterJacobian(AbstractTransform):
    fun: Callable
    has_aux: bool = eqx.field(static=True)
    order: AbstractOrdering = eqx.field(static=True)
    granularity: Granularity = eqx.field(static=True)
    structured: bool = eqx.field(static=True)
    chunk_size: int | None = eqx.field(static=True)
    with_value: bool = eqx.field(static=True)

    def __call__(self, /, *args, **kwargs):
        fun, inputs = of_first_argument(self.fun, args, kwargs)
        value, aux, jacobian = value_and_jacobian(
            fun,
            inputs,
            has_aux=self.has_aux,
            order=self.order,
            granularity=self.granularity,
            named=self.fun,
            structured=self.structured,
            with_value=self.with_value,
            chunk_size=self.chunk_size,
        )
        if self.with_value:
            return ((value, aux) if self.has_aux else value), jacobian
        return (jacobian, aux) if self.has_aux else jacobian


class _CCJacobian(AbstractTransform):
    fun: Callable
    argnums: int | tuple[int, ...] = eqx.field(static=True)
    has_aux: bool = eqx.field(static=True)
    order: AbstractOrdering = eqx.field(static=True)
    granularity: Granularity = eqx.field(static=True)
    structured: bool = eqx.field(static=True)
    chunk_size: int | None = eqx.field(static=True)

    def __call__(self, /, *args, **kwargs):
        inputs, positions = self._inputs(args)

        def fun(x):
            xs = (x,) if isinstance(self.argnums, int) else x
            replaced = dict(enumerate(args)) | dict(zip(positions, xs))
            return self.fun(*replaced.values(), **kwargs)

        _, aux, jacobian = value_and_jacobian(
            fun,
            inputs,
            has_aux=self.has_aux,
            order=self.order,
            granularity=self.granularity,
            named=self.fun,
            structured=self.structured,
            with_value=False,
            chunk_size=self.chunk_size,
        )
        return (jacobian, aux) if self.has_aux else jacobian

    def _inputs(self, args: tuple) -> tuple[Inputs, list[int]]:
        if isinstance(self.argnums, int):
            [position] = positions = argument_positions((self.argnums,), len(args))
            x, name = args[position], lambda path: f"args[{position}]{keystr(path)}"
        else:
            positions = argument_positions(self.argnums, len(args))
            x, name = tuple(args[p] for p in positions), ft.partial(_name, positions)
        return flatten_inputs(x, name), positions


def _name(positions: list[int], path: tuple) -> str:
    if len(path) == 0:
        return "args"
    return f"args[{positions[path[0].idx]}]{keystr(path[1:])}"


@takes_a_function
def filter_jacobian(
    fun=MISSING,
    *,
    has_aux: bool = False,
    order: OrderArgument = "auto",
    granularity: str = "auto",
    structured: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    r"""Computes the Jacobian of `fun` by cross-country elimination.

    It replaces `equinox.filter_jacfwd`. For an output leaf $y_i$ and an input leaf
    $x_j$, the Jacobian has the block $\partial y_i / \partial x_j$, exact to rounding.
    It is accumulated by eliminating the intermediate vertices of the computational
    graph. Forward and reverse mode are two orders of elimination; `order` chooses among
    all. (Where partial derivatives are infinite or NaN, orders may differ in which
    entries are NaN, as `jax.jacfwd` and `jax.jacrev` do.)

    **Arguments:**

    - `fun`: the function to differentiate with respect to all floating-point arrays in
        its first argument. This argument and the output may be any PyTree; the leaves
        of the output must be numbers or arrays of them.
    - `has_aux`: if `True` then `fun` should return a pair. The first element is
        differentiated; the second is auxiliary data of any type.
    - `order`: the order of elimination.
        - `"auto"`: the best order that [`eqx_cc.optimise`][] has stored or that comes
          with the package; for other graphs, the best of a few simple orderings. Where
          one sweep of JAX's forward or reverse mode is much cheaper, it is used
          instead.
        - `"forward"`, `"reverse"`: the order of the program, or the opposite order.
        - `"markowitz"`: the vertex with the fewest multiplications first.
        - `"measured"`: several methods, JAX's forward and reverse mode among them, are
          compiled and timed once. The fastest is kept.
        - a sequence of the numbers of the intermediate vertices, or an
          [`eqx_cc.AbstractOrdering`][].
    - `granularity`: the vertices of the graph.
        - `"array"`: the arrays of `fun`.
        - `"scalar"`: their entries. Entries that are zero or one cost nothing. On CPU
          the Jacobian is then one call of compiled code.
        - `"auto"`: entries for small functions that are compiled (in `jax.jit`, say)
          and have no loops, branches or operations of arrays that expand into many
          scalars; arrays for all others.
    - `structured`: if `True` then the blocks are [`eqx_cc.Partial`][]s in place of
        dense arrays, as in [`eqx_cc.cc_jacobian`][].
    - `chunk_size`: if given, at most so many rows or columns are computed at a time, in
        a loop of sweeps of JAX's forward mode (columns; `order="forward"`) or reverse
        mode (rows; `order="reverse"`), by default in the faster of these. The Jacobian
        itself is whole; what it takes to compute it has the memory of one chunk. By
        default all are computed at once, unless an array of the sweep would take more
        than 2 GiB; [`eqx_cc.explain`][] says so.

    If `fun` is left out then a decorator is returned, so that `@filter_jacobian` and
    `@filter_jacobian(has_aux=True)` both work.

    **Returns:**

    A function with the same arguments as `fun`, the first of them positional only.

    If `has_aux` is `False` it returns the Jacobian. This is a PyTree of the structure
    of the output; each of its leaves is a PyTree of the structure of the first
    argument, and each leaf of that is an array of shape `(*output.shape, *input.shape)`
    and of the dtype of the output, or the `Partial` that materialises to it. Leaves of
    the first argument that are not floating-point arrays have `None`. The derivative of
    an integer output is zero. If `has_aux` is `True` it returns the pair
    `(jacobian, aux)`.

    It raises a `ValueError` if the first argument has no floating-point array or if
    options contradict each other, and a `TypeError` if it has a complex array or if an
    output is not numerical.

    !!! Example

        ```python
        linear = eqx.nn.Linear(3, 2, key=jr.key(0))
        print(eqx_cc.filter_jacobian(linear)(jnp.ones(3)).shape)

        @eqx_cc.filter_jacobian
        def by_parameters(linear, x):
            return linear(x)

        print(by_parameters(linear, jnp.ones(3)).weight.shape)
        ```

        ```text
        (2, 3)
        (2, 2, 3)
        ```

    ??? cite "Reference"

        A. Griewank and A. Walther. *Evaluating Derivatives: Principles and Techniques
        of Algorithmic Differentiation*, chapters 9 and 10. SIAM, 2nd edition, 2008.
    """
    options = {"has_aux": has_aux, "order": order, "granularity": granularity}
    options |= {"structured": structured, "chunk_size": chunk_size}
    if fun is MISSING:
        return ft.partial(filter_jacobian, **options)
    return transformed(fun, **options)


@takes_a_function
def filter_value_and_jacobian(
    fun=MISSING,
    *,
    has_aux: bool = False,
    order: OrderArgument = "auto",
    granularity: str = "auto",
    structured: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    r"""Computes both `fun(x)` and the Jacobian of `fun` at `x`.

    The pair $(f(x), \partial f / \partial x)$ costs no more than the Jacobian, as the
    local partials need the values of the intermediate vertices in any case.

    **Arguments:**

    As [`eqx_cc.filter_jacobian`][].

    **Returns:**

    A function with the same arguments as `fun`, the first of them positional only. If
    `has_aux` is `False` it returns the pair `(value, jacobian)`. If `has_aux` is `True`
    it returns `((value, aux), jacobian)`, nested as in `equinox.filter_value_and_grad`.

    !!! Example

        ```python
        value, jacobian = eqx_cc.filter_value_and_jacobian(jnp.sin)(jnp.array(0.0))
        print(value, jacobian)
        ```

        ```text
        0.0 1.0
        ```
    """
    options = {"has_aux": has_aux, "order": order, "granularity": granularity}
    options |= {"structured": structured, "chunk_size": chunk_size}
    if fun is MISSING:
        return ft.partial(filter_value_and_jacobian, **options)
    return transformed(fun, **options, with_value=True)


def cc_jacobian(
    fun: Any,
    argnums: Any = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    order: OrderArgument = "auto",
    granularity: str = "auto",
    structured: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    r"""Computes the Jacobian of `fun` by cross-country elimination, as dense arrays or
    as structured blocks.

    It replaces `jax.jacfwd`, and takes the same positional arguments. With
    `structured=True` each block $\partial y_i / \partial x_j$ keeps the structure that
    elimination finds: a diagonal is stored as its diagonal, a band as its bands, and a
    block of low rank (of a mean, or of a bottleneck) as its factors. No array of the
    size of the dense block is computed.

    **Arguments:**

    - `fun`, `has_aux`: as in [`eqx_cc.filter_jacobian`][].
    - `argnums`: the positional arguments to differentiate with respect to: an integer
        or a sequence of integers. Negative ones count from the last argument. The
        leaves of these arguments must be real floating-point numbers or arrays.
    - `holomorphic`: must be `False`, as complex inputs are not supported.
    - `order`, `granularity`, `chunk_size`: as in [`eqx_cc.filter_jacobian`][].
    - `structured`: if `True` then the blocks are [`eqx_cc.Partial`][]s in place of
        dense arrays. `granularity="scalar"` and `order="measured"` are then errors. If
        the blocks would take more than 1 GiB and more than 64 times the arrays that
        `fun` reads and writes, an error is raised while tracing;
        `EQX_CC_STRUCTURED_LIMIT` sets another limit in bytes.

    **Returns:**

    A function with the same arguments as `fun`, those at `argnums` passed by position.
    It returns a PyTree of the structure of the output. Each of its leaves is a PyTree
    of the structure of the argument, and each leaf of that is an array of shape
    `(*output.shape, *input.shape)`, or the `Partial` that materialises to it. If
    `argnums` is a sequence, a tuple of arguments replaces the argument. If `has_aux` is
    `True` it returns the pair `(jacobian, aux)`.

    It raises a `ValueError` if `argnums` names an argument that does not exist, and a
    `TypeError` if a leaf of these arguments is not real and floating.

    !!! Example

        ```python
        block = eqx_cc.cc_jacobian(jnp.sin, structured=True)(jnp.zeros(100_000))
        print(block, block.to_bcoo().nse)
        ```

        ```text
        Partial(f64[100000,100000], diagonal, 100000 stored) 100000
        ```

    ??? cite "Reference"

        A. Griewank and A. Walther. *Evaluating Derivatives: Principles and Techniques
        of Algorithmic Differentiation*, chapters 7, 9 and 10. SIAM, 2nd edition, 2008.
    """
    check_callable(fun)
    check_holomorphic(holomorphic)
    argnums, order = check_argnums(argnums), as_ordering(order)
    check_options(order, as_granularity(granularity), structured, chunk_size)
    return _CCJacobian.of(
        fun,
        argnums=argnums,
        has_aux=has_aux,
        order=order,
        granularity=as_granularity(granularity),
        structured=structured,
        chunk_size=chunk_size,
    )


def transformed(
    fun: Any,
    *,
    has_aux: Any,
    order: Any,
    granularity: Any,
    structured: Any = False,
    chunk_size: Any = None,
    with_value: bool = False,
) -> Callable[..., Any]:
    """The transform of `fun`, whose options are checked."""
    check_callable(fun)
    order, granularity = as_ordering(order), as_granularity(granularity)
    check_options(order, granularity, structured, chunk_size)
    return _FilterJacobian.of(
        fun,
        has_aux=has_aux,
        order=order,
        granularity=granularity,
        structured=structured,
        chunk_size=chunk_size,
        with_value=with_value,
    )
