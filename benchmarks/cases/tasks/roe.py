"""Roe's approximate Riemann flux for the Euler equations of gas dynamics.

??? cite "References"

    P. L. Roe, *Approximate Riemann solvers, parameter vectors, and difference
    schemes*, Journal of Computational Physics 43 (1981) 357-372.

    J. Lohoff and E. Neftci, *Optimizing Automatic Differentiation with Deep
    Reinforcement Learning*, NeurIPS 2024 (the benchmark, `gamma = 0.5`).
"""

import jax.numpy as jnp

from ._task import Task


GAMMA = 0.5


def _pressure_1d(u0, u1, u2):
    return (GAMMA - 1) * (u2 - 0.5 * u1**2 / u0)


def _euler_flux_1d(u0, u1, u2, p):
    v = u1 / u0
    return u1, p + u1 * v, v * (p + u2)


def _roe_average(ul0, ur0, left, right, weight):
    return (jnp.sqrt(ul0) * left + jnp.sqrt(ur0) * right) / weight


def roe_flux_1d(ul0, ul1, ul2, ur0, ur1, ur2):
    """Flux between the states `ul` and `ur` of (density, momentum, energy).

    The third wave speed is $|u|$, not $|u - a|$, as published.
    """
    du0 = ur0 - ul0
    ulr0 = jnp.sqrt(ul0 * ur0)
    w1 = jnp.sqrt(ul0) + jnp.sqrt(ur0)

    vl, vr = ul1 / ul0, ur1 / ur0
    pl, pr = _pressure_1d(ul0, ul1, ul2), _pressure_1d(ur0, ur1, ur2)
    hl, hr = (ul2 + pl) / ul0, (ur2 + pr) / ur0
    dp, dv = pr - pl, vr - vl

    u = _roe_average(ul0, ur0, vl, vr, w1)
    h = _roe_average(ul0, ur0, hl, hr, w1)
    q2 = u**2
    a2 = (GAMMA - 1) * (h - 0.5 * q2)
    a = jnp.sqrt(a2)
    lp, l, ln = jnp.abs(u + a), jnp.abs(u), jnp.abs(u)  # noqa: E741
    n = a * ulr0
    c0 = (du0 - dp / a2) * l
    c1 = (dv + dp / n) * lp
    c2 = (dv - dp / n) * ln

    left, right = _euler_flux_1d(ul0, ul1, ul2, pl), _euler_flux_1d(ur0, ur1, ur2, pr)
    flux0, flux1, flux2 = (fl + fr for fl, fr in zip(left, right))

    c = 0.5 * ulr0 / a
    dflux0 = c0 + c * c1 - c * c2
    dflux1 = c0 * u + c * c1 * (u + a) - c * c2 * (u - a)
    dflux2 = c0 * 0.5 * q2 + c * c1 * (h + u * a) - c * c2 * (h - u * a)
    return 0.5 * (flux0 - dflux0), 0.5 * (flux1 - dflux1), 0.5 * (flux2 - dflux2)


def _pressure_3d(u0, u, u4):
    return (GAMMA - 1) * (u4 - 0.5 * jnp.sum(u**2, keepdims=True) / u0)


def _euler_flux_3d(u0, u, u4, p):
    v = u / u0
    momentum = jnp.concatenate([p, jnp.zeros(2, p.dtype)]) + u * v[:1]
    return u[:1], momentum, v[:1] * (p + u4)


def roe_flux_3d(ul0, ul, ul4, ur0, ur, ur4):
    """Flux in the first direction between two states in three dimensions.

    **Arguments:**

    - `ul0`, `ur0`: densities, of shape `(1,)`.
    - `ul`, `ur`: momenta, of shape `(3,)`.
    - `ul4`, `ur4`: total energies, of shape `(1,)`.

    **Returns:** the fluxes of density `(1,)`, momentum `(3,)` and energy `(1,)`.
    """
    du0, du, du4 = ur0 - ul0, ur - ul, ur4 - ul4
    w1 = jnp.sqrt(ul0) + jnp.sqrt(ur0)

    vl, vr = ul / ul0, ur / ur0
    pl, pr = _pressure_3d(ul0, ul, ul4), _pressure_3d(ur0, ur, ur4)
    hl, hr = (ul4 + pl) / ul0, (ur4 + pr) / ur0

    uvw = _roe_average(ul0, ur0, vl, vr, w1)
    h = _roe_average(ul0, ur0, hl, hr, w1)
    u, v, w = uvw[0:1], uvw[1:2], uvw[2:3]
    du1, du2, du3 = du[0:1], du[1:2], du[2:3]
    q2 = jnp.sum(uvw**2, keepdims=True)
    a2 = (GAMMA - 1) * (h - 0.5 * q2)
    a = jnp.sqrt(a2)
    lp, l, lm = u + a, u, u - a  # noqa: E741

    uvw_du = jnp.sum(uvw * du, keepdims=True)
    c3 = (GAMMA - 1) / a2 * ((h - q2) * du0 + uvw_du - du4) * l
    c2 = (du3 / w - du1) * l
    c1 = (du2 / v - du0) * l
    k1 = du0 - c3
    k2 = (du1 - u * du0) / a
    c0 = 0.5 * (k1 - k2) * lm
    c4 = 0.5 * (k1 + k2) * lp

    left, right = _euler_flux_3d(ul0, ul, ul4, pl), _euler_flux_3d(ur0, ur, ur4, pr)
    flux0, flux, flux4 = (fl + fr for fl, fr in zip(left, right))

    dflux0 = c0 + c3 + c4 * lp
    dflux1 = c0 * lm + c3 * u + c4 * lp
    dflux2 = c0 * v + c1 * v + c3 * v + c4 * v
    dflux3 = c0 * w + c2 * w + c3 * w + c4 * w
    dflux4 = c0 * (h - u * a) + c1 * v**2 + c2 * w**2 + c3 * 0.5 * q2 + c4 * (h + u * a)
    dflux = jnp.concatenate([dflux1, dflux2, dflux3])
    return 0.5 * (flux0 - dflux0), 0.5 * (flux - dflux), 0.5 * (flux4 - dflux4)


TASKS = {
    "RoeFlux_1d": Task(roe_flux_1d, (0.01, 0.02, 0.02, 0.01, 0.03, 0.03)),
    "RoeFlux_3d": Task(
        roe_flux_3d,
        ([0.01], [0.02, 0.01, 0.02], [0.02], [0.012], [0.03, 0.02, 0.01], [0.03]),
    ),
}
