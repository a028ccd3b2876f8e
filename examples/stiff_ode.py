"""Robertson's stiff kinetics by the implicit Euler method, with Newton's iteration.

??? cite "Reference"

    E. Hairer and G. Wanner. *Solving Ordinary Differential Equations II*, section IV.1.
    Springer, 2nd edition, 1996.
"""

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)


class Robertson(eqx.Module):
    """Three reactions whose rates lie nine orders of magnitude apart."""

    k1: float = 0.04
    k2: float = 3e7
    k3: float = 1e4

    def __call__(self, y: Float[Array, "3"]) -> Float[Array, "3"]:
        slow, fast = self.k1 * y[0], self.k2 * y[1] ** 2
        back = self.k3 * y[1] * y[2]
        return jnp.stack([back - slow, slow - back - fast, fast])


# --8<-- [start:step]
def implicit_euler(field, y0: Float[Array, "3"], dt: Float[Array, ""]):
    """Solves `y1 - y0 - dt * field(y1) == 0` for `y1`."""

    def newton(_, y1):
        value, jacobian = eqx_cc.filter_value_and_jacobian(field)(y1)
        matrix = jnp.eye(3) - dt * jacobian
        return y1 - jnp.linalg.solve(matrix, y1 - y0 - dt * value)

    return jax.lax.fori_loop(0, 4, newton, y0)


# --8<-- [end:step]


@eqx.filter_jit
def solve(field, y0: Float[Array, "3"], times: Float[Array, " steps"]):
    def step(y, dt):
        return implicit_euler(field, y, dt), None

    return jax.lax.scan(step, y0, jnp.diff(times))[0]


times = jnp.concatenate([jnp.zeros(1), jnp.logspace(-6, 2, 4000)])
y = solve(Robertson(), jnp.array([1.0, 0.0, 0.0]), times)
print(f"Concentrations at t = 100: {y[0]:.4f}, {y[1]:.3e}, {y[2]:.4f}")
print(f"Mass lost: {abs(float(jnp.sum(y)) - 1):.1e}")
