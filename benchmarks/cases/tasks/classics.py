"""Small classics of automatic differentiation and of physics.

??? cite "References"

    A. Griewank and A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008
    (the lighthouse, section 2.1).

    A. Griewank, *On automatic differentiation*, in *Mathematical Programming*,
    Kluwer 1989 (the Helmholtz free energy of a mixed fluid; the equation of state
    is that of D.-Y. Peng and D. B. Robinson, 1976).

    A. Sen, *Rotating charged black hole solution in heterotic string theory*,
    Physical Review Letters 69 (1992) 1006-1009.

    E. Kessler, *On the Distribution and Continuity of Water Substance in
    Atmospheric Circulations*, Meteorological Monographs 32 (1969).
"""

import jax.numpy as jnp

from ._task import Task


def lighthouse(nu, gamma, omega, t):
    """Point where the beam of a turning lighthouse meets the quay `y2 = gamma y1`."""
    tangent = jnp.tan(omega * t)
    y1 = nu * tangent / (gamma - tangent)
    y2 = gamma * nu * tangent / (gamma - tangent)
    return y1, y2


def helmholtz_energy(x, b, a):
    r"""Helmholtz energy of a mixed fluid at unit volume and unit $RT$.

    $\sum_i x_i \log\frac{x_i}{1 - b^T x} - \frac{x^T A x}{\sqrt 8\, b^T x}
    \log\frac{1 + (1 + \sqrt 2) b^T x}{1 + (1 - \sqrt 2) b^T x}$
    """
    bx = b @ x
    root2 = 2.0**0.5
    ideal = jnp.sum(x * jnp.log(x / (1.0 - bx)))
    ratio = (1.0 + (1.0 + root2) * bx) / (1.0 + (1.0 - root2) * bx)
    return ideal - x @ (a @ x) / (8.0**0.5 * bx) * jnp.log(ratio)


def kerr_sen_metric(t, r, theta, phi, mass, charge, spin):
    r"""Metric of the Kerr-Sen black hole in Boyer-Lindquist coordinates, `(4, 4)`.

    With $b = Q^2 / 2M$, $\rho^2 = r (r + 2b) + a^2 \cos^2\theta$ and
    $\Delta = r (r + 2b) - 2Mr + a^2$; it is Kerr's for $Q = 0$. Its block of
    $(t, \phi)$ has the determinant $-\Delta \sin^2\theta$.
    """
    b = charge**2 / (2.0 * mass)
    sin2 = jnp.sin(theta) ** 2
    area = r * (r + 2.0 * b)
    rho2 = area + spin**2 * jnp.cos(theta) ** 2
    delta = area - 2.0 * mass * r + spin**2
    potential = 2.0 * mass * r / rho2

    g_tt = potential - 1.0
    g_tp = -potential * spin * sin2
    g_pp = (area + spin**2 + potential * spin**2 * sin2) * sin2
    zero = jnp.zeros_like(r)
    rows = [
        [g_tt, zero, zero, g_tp],
        [zero, rho2 / delta, zero, zero],
        [zero, zero, rho2, zero],
        [g_tp, zero, zero, g_pp],
    ]
    return jnp.stack([jnp.stack(row) for row in rows])


def cloud_scheme(vapour, cloud, rain, temperature):
    r"""Tendencies of Kessler's warm-rain scheme, in its three water variables and T.

    Autoconversion above a threshold, accretion $\propto q_c q_r^{7/8}$, evaporation
    $\propto q_r^{13/20}$ below saturation, and condensation at a linear rate, with
    Tetens' saturation pressure at 900 hPa; mixing ratios in g/kg.
    """
    celsius = temperature - 273.15
    vapour_pressure = 6.112 * jnp.exp(17.67 * celsius / (celsius + 243.5))
    saturation = 622.0 * vapour_pressure / (900.0 - vapour_pressure)
    excess = vapour - saturation

    condensation = 0.1 * jnp.maximum(excess, 0.0)
    autoconversion = 1e-3 * jnp.maximum(cloud - 0.5, 0.0)
    accretion = 2.2e-3 * cloud * rain**0.875
    evaporation = 1e-3 * jnp.maximum(-excess / saturation, 0.0) * rain**0.65
    fallout = 5e-3 * rain**1.125

    latent = 2.49
    return (
        evaporation - condensation,
        condensation - autoconversion - accretion,
        autoconversion + accretion - evaporation - fallout,
        latent * (condensation - evaporation),
    )


TASKS = {
    "Lighthouse": Task(lighthouse, (1.2, 0.9, 0.4, 0.7)),
    "HelmholtzEnergy": Task(
        helmholtz_energy,
        (
            [0.2, 0.3, 0.1],
            [0.15, 0.1, 0.2],
            [[0.3, 0.1, 0.2], [0.1, 0.5, 0.1], [0.2, 0.1, 0.4]],
        ),
    ),
    "KerrSenMetric": Task(kerr_sen_metric, (0.0, 5.0, 1.1, 0.4, 1.0, 0.5, 0.6)),
    "CloudScheme": Task(cloud_scheme, (9.0, 1.1, 0.7, 285.0)),
}
