"""What `test_sharding` runs in a process of eight devices: batches of Jacobians are
split over them, with no communication and no replication."""

import re
from collections.abc import Callable
from typing import Any

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


COLLECTIVES = re.compile(
    r"all-gather|all-reduce|all-to-all|collective-permute|collective-broadcast|"
    r"reduce-scatter|ragged-all"
)
DEVICES, BATCH = 8, 32
SHARDED = PartitionSpec("batch")


def small(x):
    """Expanded into scalars."""
    return jnp.stack([jnp.sin(x[0]) * x[1], x[1] / x[2], x[0] * jnp.exp(x[2])])


def large(x):
    """A stencil, of arrays."""
    return jnp.sin(x) * (jnp.roll(x, 1) - 2 * x + jnp.roll(x, -1))


def dense(x):
    """One whose Jacobian is a sweep."""
    return jnp.tanh(jnp.cos(jnp.outer(x, x)) @ x)


def jacobians(fun: Callable) -> dict[str, Callable]:
    """The Jacobian in both granularities, with a value, in structure, its gradient."""
    jacobian = eqx_cc.filter_jacobian(fun)
    blocks = eqx_cc.cc_jacobian(fun, structured=True)
    return {
        "auto": jacobian,
        "array": eqx_cc.filter_jacobian(fun, granularity="array"),
        "scalar": eqx_cc.filter_jacobian(fun, granularity="scalar"),
        "value": eqx_cc.filter_value_and_jacobian(fun),
        "structured": lambda x: blocks(x).materialise(),
        "gradient": jax.grad(lambda x: jnp.sum(jacobian(x) ** 2)),
    }


def ways(run: Callable, sharding: NamedSharding) -> dict[str, Callable]:
    """How a batch may be split."""
    batched = jax.vmap(run)
    specs: Any = dict(mesh=sharding.mesh, in_specs=SHARDED, out_specs=SHARDED)
    return {
        "jit": batched,
        "filter_shard": lambda xs: batched(eqx.filter_shard(xs, sharding)),
        "shard_map": jax.shard_map(batched, **specs),
        "unchecked": jax.shard_map(batched, check_vma=False, **specs),
    }


def check(fun: Callable, size: int, mesh: Mesh, names: str, hows: str) -> None:
    sharding = NamedSharding(mesh, SHARDED)
    points = np.random.default_rng(0).uniform(0.5, 1.5, (BATCH, size))
    xs = jax.device_put(points, sharding)
    for name in names.split():
        run = jacobians(fun)[name]
        expected = jax.tree.leaves(jax.jit(jax.vmap(run))(points))
        for how in hows.split():
            compiled = jax.jit(ways(run, sharding)[how]).lower(xs).compile()
            text, where = compiled.as_text() or "", (fun.__name__, name, how)
            assert "num_partitions=8" in text, where
            assert not COLLECTIVES.findall(text), (where, COLLECTIVES.findall(text))
            if fun is small and name == "auto":
                assert ("xla_cpu_small_call" in text) == (how == "unchecked"), where
            for ours, want in zip(jax.tree.leaves(compiled(xs)), expected, strict=True):
                assert ours.sharding.is_equivalent_to(sharding, ours.ndim), where
                shards = {shard.data.shape[0] for shard in ours.addressable_shards}
                assert shards == {BATCH // DEVICES}, where
                np.testing.assert_allclose(ours, want, rtol=1e-12, atol=1e-12)


def check_collective(mesh: Mesh) -> None:
    """What a collective operation makes of a device's own point."""

    def fun(x):
        return jnp.sin(x) * jax.lax.psum(x[0], "batch")

    specs: Any = dict(mesh=mesh, in_specs=SHARDED, out_specs=SHARDED)
    xs = jnp.linspace(0.1, 1.0, 2 * DEVICES * 3).reshape(-1, 3)
    ours, theirs = (
        jax.jit(jax.shard_map(jax.vmap(transform(fun)), **specs))(xs)
        for transform in (eqx_cc.filter_jacobian, jax.jacfwd)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def sums(x):
    return jnp.sin(x) * jnp.sum(x)


def product(x):
    return jnp.tanh(jnp.ones((5, len(x))) @ x)


def loop(x):
    step = lambda c, u: (jnp.tanh(c * u + x), jnp.sum(c))  # noqa: E731
    return jax.lax.scan(step, x, jnp.arange(3.0))


def constant(x):
    return jnp.ones(3)


def two(xs):
    return {"a": jnp.sin(xs[0]) + jnp.sum(xs[1]), "b": xs[1] ** 2}


def first(x):
    return x[0] * x


def dense_tanh(x):
    return jnp.tanh(jnp.ones((8, len(x))) @ x)


def positive(x):
    return jnp.where(x > 0.5, x**2, 0.0)


def deviation(x):
    return x - jnp.max(x)


def rows(x):
    return jnp.sum(x**2, axis=-1) * jnp.sum(x)


def check_split(fun: Callable, x: Any, ours: Any = None, theirs: Any = None) -> None:
    """The Jacobian at an argument that is split is that of JAX, and split as that."""
    ours = ours or eqx_cc.filter_jacobian(fun)
    theirs = theirs or jax.jacfwd(fun)
    for compiled in (lambda f: f, jax.jit):
        found, expected = compiled(ours)(x), compiled(theirs)(x)
        assert jax.tree.structure(found) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected)):
            where = fun.__name__, compiled, jax.typeof(a), jax.typeof(b)
            assert a.sharding.is_equivalent_to(b.sharding, b.ndim), where
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def check_outside_of_the_mesh(x: jax.Array) -> None:
    """Without `jax.set_mesh`; JAX 0.10.0 refuses `first`."""
    for fun in (sums, dense_tanh, positive, deviation, first):
        try:
            jax.jacfwd(fun)(x)
        except Exception:
            assert fun is first
        else:
            check_split(fun, x)


def check_refused(x: jax.Array) -> None:
    """No structure, and no chunks, with errors that say what to do."""
    for transform, word in (
        (eqx_cc.cc_jacobian(jnp.sin, structured=True), "reshard"),
        (eqx_cc.cc_jacobian(jnp.sin, chunk_size=2), "chunk"),
    ):
        try:
            transform(x)
        except ValueError as e:
            assert word in str(e)
        else:
            raise AssertionError(f"What needs {word} of an array in parts is taken.")


def check_arguments_that_are_split() -> None:
    mesh = jax.make_mesh((DEVICES,), ("x",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        x = jax.device_put(jnp.linspace(0.1, 1.0, 8), PartitionSpec("x"))
        for fun in (jnp.sin, sums, product, loop, constant, jnp.sum):
            check_split(fun, x)
        check_split(
            sums, x, eqx_cc.cc_jacobian(sums, order="reverse"), jax.jacrev(sums)
        )
        check_split(sums, x, jax.jit(eqx_cc.cc_jacobian(sums, granularity="scalar")))
        check_refused(x)
        whole = jnp.linspace(0.1, 1.0, 3)
        check_split(two, (x, whole))
        check_split(small, whole)
        assert "elimination" in str(eqx_cc.explain(small, whole).way)
        assert eqx_cc.explain(sums, x).way == "forward mode of JAX"
        eqx_cc.optimise(sums, x, progress=False)
        captured = lambda y: jnp.sin(x) * jnp.sum(y)  # noqa: E731
        check_split(captured, whole)
    check_outside_of_the_mesh(x)
    types = AxisType.Explicit, AxisType.Explicit
    with jax.set_mesh(jax.make_mesh((2, DEVICES // 2), ("a", "b"), axis_types=types)):
        points = jnp.linspace(0.1, 1.0, 32).reshape(8, 4)
        for spec in (("a", "b"), ("a",), (None, "b"), (("a", "b"),)):
            x = jax.device_put(points, PartitionSpec(*spec))
            check_split(rows, x)
        x = jax.device_put(points, PartitionSpec("a", "b"))
        ours, theirs = (
            jax.vmap(transform(sums))
            for transform in (eqx_cc.filter_jacobian, jax.jacfwd)
        )
        check_split(sums, x, ours, theirs)


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    assert len(jax.devices()) == DEVICES
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Auto,))
    with jax.set_mesh(mesh):
        check(small, 3, mesh, "auto scalar value", "jit filter_shard")
        check(small, 3, mesh, "auto array scalar gradient", "shard_map unchecked")
        check(large, 24, mesh, "auto structured gradient", "jit shard_map")
        check(dense, 70, mesh, "auto", "jit shard_map")
        check_collective(mesh)
    mesh = jax.make_mesh((DEVICES,), ("batch",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        check(small, 3, mesh, "auto array scalar", "jit shard_map")
        check(large, 24, mesh, "auto structured", "jit")
        check(dense, 70, mesh, "auto", "jit")
    check(small, 3, mesh, "auto scalar", "jit")
    check_arguments_that_are_split()


if __name__ == "__main__":
    main()
