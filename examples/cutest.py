"""Sparse Hessians in an optimiser: problems of the collection CUTEst, which sif2jax
has in JAX, and the Newton method of SciPy.

It needs the extra `examples`.

??? cite "Reference"

    N. I. M. Gould, D. Orban and Ph. L. Toint. CUTEst: a constrained and unconstrained
    testing environment with safe threads for mathematical optimization. *Computational
    Optimization and Applications*, 60:545-557, 2015.
"""

# %% imports
import importlib
import importlib.util
import sys

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize


if not importlib.util.find_spec("sif2jax"):
    sys.exit('Install the extra `examples`: python -m pip install "eqx_cc[examples]"')

jax.config.update("jax_enable_x64", True)

# %% problems
# `import sif2jax` makes all of its problems, which takes a minute. The folders alone,
# without what is in their `__init__`, take none.
FOLDER = "sif2jax.cutest._unconstrained_minimisation"
for name in ("sif2jax", "sif2jax.cutest", FOLDER):
    spec = importlib.util.find_spec(name)
    assert spec is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)


def problem(name: str):
    return getattr(importlib.import_module(f"{FOLDER}.{name.lower()}"), name)()


# %% minimise
def minimise(problem):
    def objective(y):
        return problem.objective(y, problem.args)

    hessian = jax.jit(eqx_cc.filter_hessian(objective, structured=True))
    solution = optimize.minimize(
        jax.jit(jax.value_and_grad(objective)),
        problem.y0,
        jac=True,
        hess=lambda y: hessian(jnp.asarray(y)).to_scipy(),
        method="Newton-CG",
        options={"xtol": 1e-6},
    )
    return solution, hessian(jnp.asarray(solution.x))


# %% run
for name in ("CRAGGLVY", "EDENSCH", "FREUROTH", "SPARSQUR"):
    each = problem(name)
    solution, hessian = minimise(each)
    entries, n = hessian.to_scipy().nnz, hessian.shape[0]
    print(f"{name}: {hessian.structure}, {entries:,} entries of {n * n:,}")
    print(f"  {solution.nit} iterations, objective {solution.fun:,.1f}", end=" ")
    print(f"(published: {each.expected_objective_value:,.1f})")

# %% check
minimum, direction = jnp.asarray(solution.x), jnp.cos(jnp.arange(n))
gradient = jax.grad(lambda y: each.objective(y, each.args))
_, expected = jax.jvp(gradient, (minimum,), (direction,))
error = np.abs(hessian @ direction - expected).max() / np.abs(expected).max()
print(f"Relative error of a product against jax.jvp: {error:.0e}")
