"""Bayesian filtering: an extended Kalman filter that tracks a vehicle through a turn.

Each step linearises the motion and the measurement at the current estimate: two small
Jacobians, inside the loop over time.
See chapter 5 of S. Särkkä, *Bayesian Filtering and Smoothing*, CUP 2013.
"""

# %% imports
import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)

# %% noise
MOTION_NOISE = jnp.diag(jnp.array([1e-4, 1e-4, 1e-4, 1e-4, 1e-6]))
SENSOR_NOISE = jnp.diag(jnp.array([1e-2, 1e-4]))


# %% model
def move(state: Float[Array, "5"], dt: float = 0.1) -> Float[Array, "5"]:
    """A coordinated turn: position, heading, speed and turn rate."""
    x, y, heading, speed, rate = (state[i] for i in range(5))
    middle = heading + rate * dt / 2
    x, y = x + speed * jnp.cos(middle) * dt, y + speed * jnp.sin(middle) * dt
    return jnp.stack([x, y, heading + rate * dt, speed, rate])


def measure(state: Float[Array, "5"]) -> Float[Array, "2"]:
    """Range and bearing, as a radar at the origin sees them."""
    x, y = state[0], state[1]
    return jnp.stack([jnp.hypot(x, y), jnp.atan2(y, x)])


# %% step
def step(belief, observed: Float[Array, "2"]):
    mean, cov = belief
    mean, F = eqx_cc.filter_value_and_jacobian(move)(mean)
    cov = F @ cov @ F.T + MOTION_NOISE

    expected, H = eqx_cc.filter_value_and_jacobian(measure)(mean)
    gain = jnp.linalg.solve(H @ cov @ H.T + SENSOR_NOISE, H @ cov).T
    mean, cov = mean + gain @ (observed - expected), cov - gain @ H @ cov
    return (mean, cov), mean


# %% track
@eqx.filter_jit
def track(observations: Float[Array, "steps 2"]) -> Float[Array, "steps 5"]:
    belief = jnp.array([5.0, 1.0, 1.0, 0.5, 0.0]), jnp.eye(5)
    return jax.lax.scan(step, belief, observations)[1]


# %% run
start = jnp.array([5.0, 0.0, 1.5, 1.0, 0.1])
_, truth = jax.lax.scan(lambda s, _: (move(s), move(s)), start, length=200)
noise = jr.normal(jr.key(0), (200, 2)) * jnp.sqrt(jnp.diag(SENSOR_NOISE))
observations = jax.vmap(measure)(truth) + noise
estimate = track(observations)

distance = jnp.linalg.norm(estimate[:, :2] - truth[:, :2], axis=1)
print(f"Distance from the truth at the first step: {distance[0]:.3f}")
print(f"Distance from the truth at the last step:  {distance[-1]:.3f}")
print(f"Turn rate at the last step: {estimate[-1, 4]:.3f} (truth 0.100)")
