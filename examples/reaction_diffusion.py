"""A reaction-diffusion equation of 10,000 states, solved by an implicit method of
diffrax.

The state holds two species one after the other, so that the Jacobian has bands far from
its diagonal. Interleaved they are five bands, and that is how the linear systems are
solved.
See section IV.1 of E. Hairer and G. Wanner, *Solving Ordinary Differential Equations
II*, Springer 1996.
"""

# %% imports
import diffrax
import eqx_cc
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)


# %% field
def brusselator(t, y: Float[Array, " 2n"], args) -> Float[Array, " 2n"]:
    u, v = jnp.split(y, 2)
    scale = 0.02 * (len(u) + 1) ** 2

    def diffused(w, end):
        padded = jnp.pad(w, 1, constant_values=end)
        return scale * (padded[2:] - 2 * w + padded[:-2])

    reaction = u**2 * v
    du = 1 + reaction - 4 * u + diffused(u, 1.0)
    dv = 3 * u - reaction + diffused(v, 3.0)
    return jnp.concatenate([du, dv])


# %% solve
root_finder = diffrax.with_stepsize_controller_tols(eqx_cc.CCChord)()


@jax.jit
def solve(y0):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(brusselator),
        diffrax.Kvaerno5(root_finder=root_finder),
        t0=0.0,
        t1=10.0,
        dt0=None,
        y0=y0,
        saveat=diffrax.SaveAt(ts=jnp.linspace(0.0, 10.0, 6)),
        stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
    )


# %% start
cells = 5000
x = jnp.linspace(0.0, 1.0, cells + 2)[1:-1]
y0 = jnp.concatenate([1 + jnp.sin(2 * jnp.pi * x), jnp.full(cells, 3.0)])

# %% jacobian
block = jax.jit(eqx_cc.cc_jacobian(brusselator, argnums=1, structured=True))(
    0.0, y0, None
)
print(f"Jacobian: {block.structure}")
print(f"Stored entries: {block.to_bcoo().nse:,} of {block.shape[0] ** 2:,}")

# %% run
solution = solve(y0)
assert solution.ys is not None
print(f"Steps: {solution.stats['num_steps']}")
print(f"First species in the middle: {solution.ys[-1, cells // 2]:.5f}")
