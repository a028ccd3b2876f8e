"""The price of a European call and its first derivatives.

??? cite "References"

    F. Black and M. Scholes, *The Pricing of Options and Corporate Liabilities*,
    Journal of Political Economy 81 (1973) 637-654.

    F. Black, *The pricing of commodity contracts*, Journal of Financial Economics 3
    (1976) 167-179 (the form in terms of the forward price used here).
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import erf

from ._task import Task


def _normal_cdf(z):
    return (1.0 + erf(z / math.sqrt(2.0))) / 2.0


def black_scholes(spot, strike, rate, volatility, maturity):
    r"""$C = e^{-rT} (F \Phi(d_1) - K \Phi(d_2))$ with the forward $F = e^{rT} S$."""
    forward = jnp.exp(rate * maturity) * spot
    deviation = volatility * jnp.sqrt(maturity)
    drift = volatility**2 / 2.0 * maturity
    d1 = (jnp.log(forward / strike) + drift) / deviation
    d2 = d1 - deviation
    payoff = forward * _normal_cdf(d1) - strike * _normal_cdf(d2)
    return jnp.exp(-rate * maturity) * payoff


def black_scholes_greeks(spot, strike, rate, volatility, maturity):
    """The five first derivatives of the price; their Jacobian is symmetric."""
    derivatives = jax.grad(black_scholes, argnums=(0, 1, 2, 3, 4))
    return derivatives(spot, strike, rate, volatility, maturity)


POINT = (100.0, 95.0, 0.03, 0.2, 0.75)

TASKS = {
    "BlackScholes": Task(black_scholes, POINT),
    "BlackScholes_Jacobian": Task(black_scholes_greeks, POINT),
}
