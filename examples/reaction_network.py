r"""A network of reactions, by its constant stoichiometric matrix: clusters that grow
and shrink by one molecule at a time (the equations of Becker and Döring), which diffrax
solves by an implicit method.

??? cite "Reference"

    J. M. Ball, J. Carr and O. Penrose. The Becker-Döring cluster equations: basic
    properties and asymptotic behaviour of solutions. *Communications in Mathematical
    Physics*, 104:657-692, 1986.
"""

# %% imports
import diffrax
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)

# %% network
SPECIES = 60
sizes = np.arange(1, SPECIES + 1)
# Reaction k joins a molecule and a cluster of size k + 1, and there is its reverse.
growing = np.arange(SPECIES - 1)
stoichiometry = np.zeros((SPECIES, SPECIES - 1))
np.add.at(stoichiometry, (0 * growing, growing), -1.0)
np.add.at(stoichiometry, (growing, growing), -1.0)
np.add.at(stoichiometry, (growing + 1, growing), 1.0)
forward = sizes[:-1] ** (1 / 3)
backward = forward * np.exp(sizes[:-1] ** -0.5)


def network(t, clusters: Float[Array, " species"], args) -> Float[Array, " species"]:
    joined = forward * clusters[0] * clusters[growing]
    split = backward * clusters[growing + 1]
    return jnp.asarray(stoichiometry) @ (joined - split)


# %% solve
root_finder = diffrax.with_stepsize_controller_tols(eqx_cc.CCChord)()


@jax.jit
def solve(y0: Float[Array, " species"]):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(network),
        diffrax.Kvaerno5(root_finder=root_finder),
        t0=0.0,
        t1=100.0,
        dt0=None,
        y0=y0,
        stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-9),
    )


solution = solve(jnp.zeros(SPECIES).at[0].set(3.0))
assert solution.ys is not None
clusters = solution.ys[-1]
print(f"Steps: {solution.stats['num_steps']}")
print(f"Single molecules left: {clusters[0]:.5f} of 3")
print(f"Mean size of clusters: {3 / jnp.sum(clusters):.4f}")
print(f"Molecules lost: {abs(float(jnp.sum(sizes * clusters)) - 3):.1e}")
