r"""Power flow: the voltages of a network of generators, loads and lines.

The network is the IEEE test case of 14 buses, of the University of Washington's power
systems test case archive. Newton's iteration solves for the angles of all buses but the
first, and the voltages of those without a generator, so that the power which flows into
each bus is what is stated.

??? cite "Reference"

    W. F. Tinney and C. E. Hart. Power flow solution by Newton's method. *IEEE
    Transactions on Power Apparatus and Systems*, PAS-86(11):1449-1460, 1967.
"""

# %% imports
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)

# %% data
# From bus, to bus, resistance, reactance, charging susceptance, ratio of transformer.
LINES = np.array(
    [
        [1, 2, 0.01938, 0.05917, 0.0528, 1.0],
        [1, 5, 0.05403, 0.22304, 0.0492, 1.0],
        [2, 3, 0.04699, 0.19797, 0.0438, 1.0],
        [2, 4, 0.05811, 0.17632, 0.0340, 1.0],
        [2, 5, 0.05695, 0.17388, 0.0346, 1.0],
        [3, 4, 0.06701, 0.17103, 0.0128, 1.0],
        [4, 5, 0.01335, 0.04211, 0.0, 1.0],
        [4, 7, 0.0, 0.20912, 0.0, 0.978],
        [4, 9, 0.0, 0.55618, 0.0, 0.969],
        [5, 6, 0.0, 0.25202, 0.0, 0.932],
        [6, 11, 0.09498, 0.19890, 0.0, 1.0],
        [6, 12, 0.12291, 0.25581, 0.0, 1.0],
        [6, 13, 0.06615, 0.13027, 0.0, 1.0],
        [7, 8, 0.0, 0.17615, 0.0, 1.0],
        [7, 9, 0.0, 0.11001, 0.0, 1.0],
        [9, 10, 0.03181, 0.08450, 0.0, 1.0],
        [9, 14, 0.12711, 0.27038, 0.0, 1.0],
        [10, 11, 0.08205, 0.19207, 0.0, 1.0],
        [12, 13, 0.22092, 0.19988, 0.0, 1.0],
        [13, 14, 0.17093, 0.34802, 0.0, 1.0],
    ]
)
# What flows into buses 1 to 14, as parts of 100 MVA: real and reactive power.
REAL = np.array([0, 18.3, -94.2, -47.8, -7.6, -11.2, 0, 0, -29.5, -9])
REAL = np.concatenate([REAL, [-3.5, -6.1, -13.5, -14.9]]) / 100
REACTIVE = np.array([0, 0, 0, 3.9, -1.6, 0, 0, 0, -16.6, -5.8, -1.8, -1.6, -5.8, -5])
REACTIVE = REACTIVE / 100
# The voltages of generators, and the susceptance of a capacitor at bus 9.
GENERATORS = np.array([1, 2, 3, 6, 8]) - 1
VOLTAGES = np.array([1.06, 1.045, 1.01, 1.07, 1.09])
SHUNTS = np.zeros(14)
SHUNTS[8] = 0.19

# %% mismatch
ENDS = LINES[:, :2].astype(int) - 1
ANGLED = np.arange(1, 14)
LOADS = np.setdiff1d(np.arange(14), GENERATORS)


def flows(voltage: Float[Array, "14"], angle: Float[Array, "14"]):
    """The real and reactive power that each bus sends into its lines."""
    *_, resistance, reactance, charging, ratio = LINES.T
    admittance = 1 / (resistance + 1j * reactance)
    g, b = admittance.real, admittance.imag
    here, there = ENDS.T
    real, reactive = jnp.zeros(14), -jnp.asarray(SHUNTS) * voltage**2
    for a, z, at, other in ((here, there, ratio, 1.0), (there, here, 1.0, ratio)):
        u, w, turn = voltage[a] / at, voltage[z] / other, angle[a] - angle[z]
        cos, sin = jnp.cos(turn), jnp.sin(turn)
        real = real.at[a].add(g * u**2 - u * w * (g * cos + b * sin))
        sent = -(b + charging / 2) * u**2 - u * w * (g * sin - b * cos)
        reactive = reactive.at[a].add(sent)
    return real, reactive


def unpacked(unknowns: Float[Array, "22"]):
    """The voltages and the angles of all buses."""
    angle = jnp.zeros(14).at[ANGLED].set(unknowns[:13])
    voltage = jnp.zeros(14).at[GENERATORS].set(VOLTAGES).at[LOADS].set(unknowns[13:])
    return voltage, angle


def mismatch(unknowns: Float[Array, "22"], args=None) -> Float[Array, "22"]:
    real, reactive = flows(*unpacked(unknowns))
    return jnp.concatenate([(real - REAL)[ANGLED], (reactive - REACTIVE)[LOADS]])


# %% solve
@jax.jit
def solve(start: Float[Array, "22"]):
    newton = optx.Newton(rtol=1e-9, atol=1e-9, linear_solver=eqx_cc.EliminationSolver())
    return optx.root_find(mismatch, newton, start)


solution = solve(jnp.concatenate([jnp.zeros(13), jnp.ones(9)]))
voltage, angle = unpacked(solution.value)
real, _ = flows(voltage, angle)
print(f"Iterations: {solution.stats['num_steps']}")
print(f"Bus 14: voltage {voltage[13]:.3f}, angle {jnp.rad2deg(angle[13]):.2f} degrees")
print(f"Bus 1 generates {100 * real[0]:.1f} MW")
print(f"Lines lose {100 * jnp.sum(real):.2f} MW")
