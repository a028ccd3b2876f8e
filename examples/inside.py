"""What happens inside: the graph, the order, and the count after each step.

The first function is small enough to eliminate its vertices by hand. The second is the
lighthouse of section 1.2 of A. Griewank and A. Walther, *Evaluating Derivatives*, SIAM
2008: where its beam meets a quay.
"""

import _figures
import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)
Scalar = Float[Array, ""]


# --8<-- [start:function]
def hourglass(x: tuple[Scalar, Scalar]) -> tuple[Scalar, Scalar]:
    x0, x1 = x
    v2 = x0 * x1
    v3 = jnp.sin(v2)
    v4 = jnp.exp(v3)
    return v4**2, 1 / v4


x = jnp.array(2.0), jnp.array(0.5)
report = eqx_cc.explain(hourglass, x)
print(report)
# --8<-- [end:function]


# --8<-- [start:partials]
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
# --8<-- [end:partials]


# --8<-- [start:eliminate]
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


# --8<-- [end:eliminate]

print()
# --8<-- [start:count]
orders = {"forward": (2, 3, 4), "reverse": (4, 3, 2), "chosen": report.order}
for name, order in orders.items():
    counts = [count for count, _ in accumulate(partials, order)]
    print(f"{name}: eliminate {order}, multiplications so far {counts}")
# --8<-- [end:count]

# --8<-- [start:compare]
_, entries = accumulate(partials, report.order)[-1]
jacobian = eqx_cc.filter_jacobian(hourglass, order=report.order)(x)
for (u, w), entry in sorted(entries.items()):
    ours = jacobian[w - 5][u]
    print(f"d y{w - 5} / d x{u} = {entry:+.6f} by hand, {ours:+.6f} by eqx_cc")
# --8<-- [end:compare]

print()


# --8<-- [start:lighthouse]
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
# --8<-- [end:lighthouse]


PLACES = {0: (0, 1), 1: (0, -1), 2: (1.5, 0), 3: (3, 0), 4: (4.5, 0)}
PLACES |= {5: (6, 1), 6: (6, -1)}
NAMES = "x0 x1 v2 v3 v4 y0 y1".split()


def draw_graph(axes, edges: dict, values: bool = True):
    """A graph with its partials, and only those vertices that are left in it."""
    arrow = {"arrowstyle": "-|>", "color": _figures.GREY, "shrinkA": 13, "shrinkB": 13}
    for (u, w), value in edges.items():
        axes.annotate("", PLACES[w], PLACES[u], arrowprops=arrow)
        if values:
            draw_value(axes, value, PLACES[u], PLACES[w])
    for vertex in {v for edge in edges for v in edge}:
        axes.plot(*PLACES[vertex], "o", ms=22, mfc="none", color=_figures.BLUE)
        axes.text(*PLACES[vertex], NAMES[vertex], ha="center", va="center")
    axes.set(xlim=(-0.5, 6.5), ylim=(-1.5, 1.5))
    axes.set_axis_off()


def draw_value(axes, value, start, end):
    """Beside the edge; and not where the edges of the last graph cross."""
    (x0, y0), (x1, y1) = start, end
    part = 0.5 if abs(x1 - x0) < 6 else 0.25
    up = 0.3 if y1 == y0 else 0.1
    side = {0: "center", 1: "right", -1: "left"}[(y1 > y0) - (y1 < y0)]
    at = x0 + part * (x1 - x0), y0 + part * (y1 - y0) + up
    axes.text(*at, f"{value:.2f}", ha=side, va="center", color=_figures.ORANGE)


def draw_steps(order):
    figure, panels = _figures.new(7.5, 5, columns=2, rows=2)
    states = accumulate(partials, order)
    titles = ["the local partials", *(f"after eliminating v{v}" for v in order)]
    for axes, title, (count, edges) in zip(panels.flat, titles, states):
        draw_graph(axes, edges)
        axes.set_title(f"{title}: {count} multiplications", fontsize=11)
    return figure


def draw_counts(plans):
    figure, axes = _figures.new(5, 3)
    styles = zip(plans.items(), ("-", "--", ":", "-"))
    colours = _figures.GREEN, _figures.ORANGE, _figures.GREY, _figures.BLUE
    for ((name, plan), style), colour in zip(styles, colours):
        counts = [0]
        for step in plan.steps:
            counts.append(counts[-1] + step.num_multiplications)
        label = f"{name}: {counts[-1]}"
        axes.plot(counts, style, marker="o", ms=4, color=colour, label=label)
    axes.set_xlabel("vertices eliminated")
    axes.set_ylabel("multiplications so far")
    axes.legend()
    return figure


if _figures.wanted():
    figure, axes = _figures.new(5, 2.2)
    draw_graph(axes, partials, values=False)
    _figures.save(figure, "inside_graph")
    _figures.save(draw_steps(report.order), "inside_steps")
    _figures.save(draw_counts(lighthouse.plans), "inside_counts")
