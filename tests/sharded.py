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


if __name__ == "__main__":
    main()
