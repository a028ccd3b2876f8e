"""Stiff chemical kinetics: the right-hand sides of four classics.

??? cite "References"

    H. H. Robertson, *The solution of a set of reaction rate equations*, in *Numerical
    Analysis: An Introduction*, Academic Press 1966.

    E. Schäfer, *A new approach to explain the "high irradiance responses" of
    photomorphogenesis on the basis of phytochrome*, Journal of Mathematical Biology 2
    (1975) 41-56 (HIRES).

    R. J. Field and R. M. Noyes, *Oscillations in chemical systems IV*, Journal of
    Chemical Physics 60 (1974) 1877-1884 (the Oregonator, OREGO).

    J. G. Verwer, *Gauss-Seidel iteration for stiff ODEs from chemical kinetics*, SIAM
    Journal on Scientific Computing 15 (1994) 1243-1250 (POLLU).

    F. Mazzia and C. Magherini, *Test Set for Initial Value Problem Solvers*, University
    of Bari 2008 (all of them, with the coefficients used here).
"""

import jax.numpy as jnp
import numpy as np

from ._case import Case


def robertson(y):
    """Three species, rates from 0.04 to 3e7."""
    a, b, c = y
    slow, fast, middle = 0.04 * a, 3e7 * b * b, 1e4 * b * c
    return jnp.stack([middle - slow, slow - middle - fast, fast])


def oregonator(y):
    """The Belousov-Zhabotinskii reaction in three variables."""
    a, b, c = y
    return jnp.stack(
        [
            77.27 * (b + a * (1.0 - 8.375e-6 * a - b)),
            (c - (1.0 + a) * b) / 77.27,
            0.161 * (a - c),
        ]
    )


def hires(y):
    """Eight states of a photomorphogenetic plant response."""
    y1, y2, y3, y4, y5, y6, y7, y8 = y
    bound = 280.0 * y6 * y8
    return jnp.stack(
        [
            -1.71 * y1 + 0.43 * y2 + 8.32 * y3 + 0.0007,
            1.71 * y1 - 8.75 * y2,
            -10.03 * y3 + 0.43 * y4 + 0.035 * y5,
            8.32 * y2 + 1.71 * y3 - 1.12 * y4,
            -1.745 * y5 + 0.43 * y6 + 0.43 * y7,
            -bound + 0.69 * y4 + 1.71 * y5 - 0.43 * y6 + 0.69 * y7,
            bound - 1.81 * y7,
            -bound + 1.81 * y7,
        ]
    )


def _pollu_rates(y):
    """The 25 reactions, each of one or two of the 20 species."""
    (
        y1,
        y2,
        y3,
        y4,
        y5,
        y6,
        y7,
        _,
        y9,
        y10,
        y11,
        _,
        y13,
        y14,
        _,
        y16,
        y17,
        _,
        y19,
        y20,
    ) = y
    return (
        0.35 * y1,
        26.6 * y2 * y4,
        1.23e4 * y5 * y2,
        8.6e-4 * y7,
        8.2e-4 * y7,
        1.5e4 * y7 * y6,
        1.3e-4 * y9,
        2.4e4 * y9 * y6,
        1.65e4 * y11 * y2,
        9.0e3 * y11 * y1,
        0.022 * y13,
        1.2e4 * y10 * y2,
        1.88 * y14,
        1.63e4 * y1 * y6,
        4.8e6 * y3,
        3.5e-4 * y4,
        0.0175 * y4,
        1.0e8 * y16,
        4.44e11 * y16,
        1.24e3 * y17 * y6,
        2.1 * y19,
        5.78 * y19,
        0.0474 * y1 * y4,
        1.78e3 * y19 * y1,
        3.12 * y20,
    )


def pollu(y):
    """The chemistry of an air pollution model."""
    (
        r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13,
        r14, r15, r16, r17, r18, r19, r20, r21, r22, r23, r24, r25,
    ) = _pollu_rates(y)  # fmt: skip
    gained = r2 + r3 + r9 + r11 + r12 + r22 + r25
    return jnp.stack(
        [
            gained - r1 - r10 - r14 - r23 - r24,
            r1 + r21 - r2 - r3 - r9 - r12,
            r1 + r17 + r19 + r22 - r15,
            r15 - r2 - r16 - r17 - r23,
            2.0 * r4 + r6 + r7 + r13 + r20 - r3,
            r3 + 2.0 * r18 - r6 - r8 - r14 - r20,
            r13 - r4 - r5 - r6,
            r4 + r5 + r6 + r7,
            -r7 - r8,
            r7 + r9 - r12,
            r8 + r11 - r9 - r10,
            r9,
            r10 - r11,
            r12 - r13,
            r14,
            r16 - r18 - r19,
            -r20,
            r20,
            r23 + r25 - r21 - r22 - r24,
            r24 - r25,
        ]
    )


POLLU_START = np.zeros(20)
POLLU_START[[1, 3, 6, 7, 8, 16]] = 0.2, 0.04, 0.1, 0.3, 0.01, 0.007
HIRES_START = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057])

# As published, at times 60 and 321.8122; `tests/project/test_benchmarks.py` gets there.
POLLU_END = np.array(
    [
        0.05646255480022769, 0.1342484130422339, 4.139734331099427e-9,
        0.005523140207484359, 2.018977262302196e-7, 1.464541863493966e-7,
        0.07784249118997964, 0.3245075353396018, 0.007494013383880406,
        1.622293157301561e-8, 1.135863833257075e-8, 0.002230505975721359,
        2.087162882798630e-4, 1.396921016840158e-5, 0.008964884856898295,
        4.352846369330103e-18, 0.006899219696263405, 1.007803037365946e-4,
        1.772146513969984e-6, 5.682943292316392e-5,
    ]
)  # fmt: skip
HIRES_END = np.array(
    [
        7.371312573325668e-4, 1.442485726316185e-4, 5.888729740967575e-5,
        1.175651343283149e-3, 2.386356198831331e-3, 6.238968252742796e-3,
        2.849998395185769e-3, 2.850001604814231e-3,
    ]
)  # fmt: skip

CASES = [
    Case("Robertson", "kinetics", robertson, np.array([0.98, 2.8e-5, 0.02])),
    Case("OREGO", "kinetics", oregonator, np.array([1.5, 2.0, 3.0])),
    Case("HIRES", "kinetics", hires, HIRES_END),
    Case("POLLU", "kinetics", pollu, POLLU_END),
]
