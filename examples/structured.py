"""The Jacobian of a reaction-diffusion equation, kept as its three bands.

With 100,000 unknowns the dense Jacobian would hold 10,000,000,000 numbers, of which all
but 300,000 are zero. None of those is ever formed.
"""

# %% imports
import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)


# %% field
class Fisher(eqx.Module):
    """Fisher's equation u_t = u_xx + u (1 - u) on a grid, with u = 0 at both ends."""

    dx: float

    def __call__(self, u: Float[Array, " n"]) -> Float[Array, " n"]:
        padded = jnp.pad(u, 1)
        diffusion = (padded[2:] - 2 * u + padded[:-2]) / self.dx**2
        return diffusion + u * (1 - u)


# %% grid
n = 100_000
field = Fisher(dx=0.1)
u = jnp.exp(-(jnp.linspace(-5.0, 5.0, n) ** 2))

# %% jacobian
block = eqx.filter_jit(eqx_cc.cc_jacobian(field, structured=True))(u)
matrix = block.to_bcoo()

# %% check
_, expected = jax.jvp(field, (u,), (jnp.cos(u),))
error = jnp.max(jnp.abs(matrix @ jnp.cos(u) - expected)) / jnp.max(jnp.abs(expected))
print(f"Structure: {block.structure}")
print(f"Stored entries: {matrix.nse:,} of {n * n:,}")
print(f"Relative error of a product against jax.jvp: {error:.1e}")
