"""Robertson's stiff kinetics: by the implicit Euler method with Newton's iteration,
which is written out here, and by an implicit Runge-Kutta method of diffrax.

??? cite "Reference"

    E. Hairer and G. Wanner. *Solving Ordinary Differential Equations II*, section IV.1.
    Springer, 2nd edition, 1996.
"""

# %% imports
import diffrax
import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)


# %% field
class Robertson(eqx.Module):
    """Three reactions whose rates lie nine orders of magnitude apart."""

    k1: float = 0.04
    k2: float = 3e7
    k3: float = 1e4

    def __call__(self, y: Float[Array, "3"]) -> Float[Array, "3"]:
        slow, fast = self.k1 * y[0], self.k2 * y[1] ** 2
        back = self.k3 * y[1] * y[2]
        return jnp.stack([back - slow, slow - back - fast, fast])


# %% step
def implicit_euler(field, y0: Float[Array, "3"], dt: Float[Array, ""]):
    """Solves `y1 - y0 - dt * field(y1) == 0` for `y1`."""

    def newton(_, y1):
        value, jacobian = eqx_cc.filter_value_and_jacobian(field)(y1)
        matrix = jnp.eye(3) - dt * jacobian
        return y1 - jnp.linalg.solve(matrix, y1 - y0 - dt * value)

    return jax.lax.fori_loop(0, 4, newton, y0)


# %% march
@eqx.filter_jit
def solve(field, y0: Float[Array, "3"], times: Float[Array, " steps"]):
    def step(y, dt):
        return implicit_euler(field, y, dt), None

    return jax.lax.scan(step, y0, jnp.diff(times))[0]


# %% diffrax
root_finder = diffrax.with_stepsize_controller_tols(eqx_cc.CCChord)()


@eqx.filter_jit
def adaptive(field, y0: Float[Array, "3"], times: Float[Array, " saved"]):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: field(y)),
        diffrax.Kvaerno5(root_finder=root_finder),
        t0=0.0,
        t1=times[-1],
        dt0=1e-6,
        y0=y0,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
    )


# %% run
field, y0 = Robertson(), jnp.array([1.0, 0.0, 0.0])
times = jnp.concatenate([jnp.zeros(1), jnp.logspace(-6, 2, 4000)])
y = solve(field, y0, times)
print(f"Implicit Euler, 4000 steps:  {y[0]:.4f}, {y[1]:.3e}, {y[2]:.4f}")

saved = jnp.logspace(-6, 2, 81)
solution = adaptive(field, y0, saved)
assert solution.ys is not None
y, steps = solution.ys[-1], solution.stats["num_steps"]
print(f"Kvaerno5, {steps} steps:  {y[0]:.4f}, {y[1]:.3e}, {y[2]:.4f}")
print(f"Mass lost: {abs(float(jnp.sum(y)) - 1):.1e}")
