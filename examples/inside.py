"""What happens inside: the graph, the order, and the count after each step.

The first function is small enough to eliminate its vertices by hand. The second is the
lighthouse of section 1.2 of A. Griewank and A. Walther, *Evaluating Derivatives*, SIAM
2008: where its beam meets a quay.
"""

# %% imports
import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)
Scalar = Float[Array, ""]


# %% function
def hourglass(x: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
    x0, x1 = x
    v2 = x0 * x1
    v3 = jnp.sin(v2)
    v4 = jnp.exp(v3)
    return v4**2, 1 / v4


x = jnp.array(2.0), jnp.array(0.5)
report = eqx_cc.explain(hourglass, x)
print(report)


# %% partials
v2 = x[0] * x[1]
v3, v4 = jnp.sin(v2), jnp.exp(jnp.sin(v2))
partials = {
    (0, 2): x[1],
    (1, 2): x[0],
    (2, 3): jnp.cos(v2),
    (3, 4): v4,
    (4, 5): 2 * v4,
    (4, 6): -1 / v4**2,
}


# %% eliminate
def eliminate(edges: dict, vertex: int) -> tuple[dict, int]:
    """The edges without a vertex, and the multiplications that this takes."""
    into = {u: c for (u, w), c in edges.items() if w == vertex}
    out_of = {w: c for (u, w), c in edges.items() if u == vertex}
    left = {edge: c for edge, c in edges.items() if vertex not in edge}
    for u, right in into.items():
        for w, c in out_of.items():
            left[u, w] = left.get((u, w), 0.0) + c * right
    return left, len(into) * len(out_of)


def accumulate(edges: dict, order) -> list[tuple[int, dict]]:
    """The multiplications so far and the edges, after each elimination."""
    states, count = [(0, edges)], 0
    for vertex in order:
        edges, spent = eliminate(edges, vertex)
        count += spent
        states.append((count, edges))
    return states


# %%
print()

# %% count
orders = {"forward": (2, 3, 4), "reverse": (4, 3, 2), "chosen": report.order}
for name, order in orders.items():
    counts = [count for count, _ in accumulate(partials, order)]
    print(f"{name}: eliminate {order}, multiplications so far {counts}")

# %% compare
_, entries = accumulate(partials, report.order)[-1]
jacobian = eqx_cc.filter_jacobian(hourglass, order=report.order)(x)
for (u, w), entry in sorted(entries.items()):
    ours = jacobian[w - 5][u]
    print(f"d y{w - 5} / d x{u} = {entry:+.6f} by hand, {ours:+.6f} by eqx_cc")

# %%
print()


# %% lighthouse
class Lighthouse(eqx.Module):
    def __call__(self, x: tuple[Scalar, Scalar, Scalar, Scalar]):
        distance, slope, speed, time = x
        tangent = jnp.tan(speed * time)
        along = distance * tangent / (slope - tangent)
        return along, slope * along


lighthouse = eqx_cc.explain(Lighthouse(), tuple(jnp.arange(1.0, 5.0)))
for name, plan in lighthouse.plans.items():
    steps = [step.num_multiplications for step in plan.steps]
    print(f"{name:>9}: {plan.order} takes {steps}, {sum(steps)} in all")
