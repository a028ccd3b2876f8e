"""Sensitivities of option prices to second order.

Greeks are partial derivatives of the price: delta and vega are in its gradient, gamma,
vanna and volga in its Hessian. Here they are of the price of Black and Scholes, for
which they are known, for a thousand options at once.
See chapter 15 of J. C. Hull, *Options, Futures, and Other Derivatives*, Pearson 2018.
"""

# %% imports
import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)


# %% price
class Call(eqx.Module):
    """A European call option, and what its price depends on."""

    spot: Float[Array, ""]
    volatility: Float[Array, ""]  # Of a year, and so is the rate.
    rate: Float[Array, ""]
    strike: float = 100.0
    years: float = 1.0


def price(call: Call) -> Float[Array, ""]:
    """The price of Black and Scholes, in the currency of `spot` and `strike`."""
    width = call.volatility * jnp.sqrt(call.years)
    drift = call.rate * call.years
    d1 = (jnp.log(call.spot / call.strike) + drift) / width + width / 2
    discounted = call.strike * jnp.exp(-drift)
    return call.spot * norm.cdf(d1) - discounted * norm.cdf(d1 - width)


# %% greeks
@eqx.filter_jit
@eqx.filter_vmap
def greeks(call: Call) -> dict[str, Float[Array, ""]]:
    first = eqx_cc.filter_jacobian(price)(call)
    second = eqx_cc.filter_hessian(price)(call)
    return {
        "delta": first.spot,
        "vega": first.volatility,
        "rho": first.rate,
        "gamma": second.spot.spot,
        "vanna": second.spot.volatility,
        "volga": second.volatility.volatility,
    }


# %% run
spots = jnp.linspace(50.0, 150.0, 1001)
calls = Call(spots, jnp.full(1001, 0.2), jnp.full(1001, 0.03))
found = greeks(calls)
for name, values in found.items():
    print(f"{name} at a spot of 100: {values[500]:.4f}")

# %% check
# The Greeks in closed form, with the density of the normal distribution.
d1 = (jnp.log(spots / 100.0) + 0.03) / 0.2 + 0.1
d2 = d1 - 0.2
known = {
    "gamma": norm.pdf(d1) / (spots * 0.2),
    "vanna": -norm.pdf(d1) * d2 / 0.2,
    "volga": spots * norm.pdf(d1) * d1 * d2 / 0.2,
}
for name, values in known.items():
    error = jnp.max(jnp.abs(found[name] - values)) / jnp.max(jnp.abs(values))
    print(f"{name}: relative error {error:.0e}")
