"""A stiff neural ODE: an oscillator whose damping is a neural network, trained through
the implicit solver of diffrax.

The data are those of van der Pol's oscillator, `x'' = mu (1 - x^2) x' - x`. The network
learns `1 - x^2` at `mu = 20`, and then takes its place at `mu = 1000`.

??? cite "Reference"

    C. Rackauckas, Y. Ma, J. Martensen, C. Warner, K. Zubov, R. Supekar, D. Skinner,
    A. Ramadhan and A. Edelman. Universal differential equations for scientific machine
    learning. *arXiv:2001.04385*, 2020.
"""

# %% imports
from collections.abc import Callable

import diffrax
import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
import optax
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)


# %% field
class Oscillator(eqx.Module):
    damping: Callable[[Float[Array, ""]], Float[Array, ""]]
    mu: float = eqx.field(static=True)

    def __call__(self, t, y: Float[Array, "2"], args) -> Float[Array, "2"]:
        position, speed = y
        acceleration = self.mu * self.damping(position) * speed - position
        return jnp.stack([speed, acceleration])


# %% solve
root_finder = diffrax.with_stepsize_controller_tols(eqx_cc.CCChord)()
implicit = diffrax.Kvaerno5(root_finder=root_finder)


@eqx.filter_jit
def solve(field, y0: Float[Array, "2"], times: Float[Array, " saved"], solver=implicit):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        t0=times[0],
        t1=times[-1],
        dt0=1e-4,
        y0=y0,
        saveat=diffrax.SaveAt(ts=times),
        stepsize_controller=diffrax.PIDController(rtol=1e-6, atol=1e-6),
        max_steps=100_000,
        throw=False,
    )


# %% data
def truth(position: Float[Array, ""]) -> Float[Array, ""]:
    return 1 - position**2


start, times = jnp.array([2.0, 0.0]), jnp.linspace(0.0, 80.0, 801)
data = jnp.asarray(solve(Oscillator(truth, 20.0), start, times).ys)


# %% train
def loss(model, before: Float[Array, "batch 2"], after: Float[Array, "batch 2"]):
    """The error after a tenth of a second. Outliers are where the oscillator jumps."""
    solutions = jax.vmap(lambda y0: solve(model, y0, times[:2]).ys)(before)
    end = jnp.asarray(solutions)[:, -1]
    scale = jnp.array([100.0, 10.0])
    return jnp.mean(optax.huber_loss(scale * end, scale * after))


optimiser = optax.adam(optax.cosine_decay_schedule(2e-2, 400))


@eqx.filter_jit
def update(model, state, key):
    chosen = jr.choice(key, len(data) - 1, (64,))
    value, gradient = eqx.filter_value_and_grad(loss)(
        model, data[chosen], data[chosen + 1]
    )
    change, state = optimiser.update(gradient, state)
    return eqx.apply_updates(model, change), state, value


# %% run
network = eqx.nn.MLP("scalar", "scalar", 16, 2, jnp.tanh, key=jr.key(0))
model = Oscillator(network, 20.0)
state = optimiser.init(eqx.filter(model, eqx.is_inexact_array))
for key in jr.split(jr.key(1), 400):
    model, state, value = update(model, state, key)

positions = jnp.linspace(-1.5, 1.5, 31)
error = jnp.abs(jax.vmap(model.damping)(positions) - truth(positions))
print(f"Mean error of the damping: {error.mean():.1f} (of values from -1.2 to 1)")

# %% stiff
stiff = Oscillator(model.damping, 1000.0)
times = jnp.linspace(0.0, 2000.0, 1001)
for name, solver in {"Kvaerno5": implicit, "Tsit5": diffrax.Tsit5()}.items():
    solution = solve(stiff, start, times, solver)
    assert solution.ys is not None
    reached = times[jnp.isfinite(solution.ys[:, 0])][-1]
    steps = round(int(solution.stats["num_steps"]), -2)
    print(f"{name}: about {steps:,} steps to time {reached:,.0f}")
