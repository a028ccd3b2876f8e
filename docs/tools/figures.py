"""Draws the figures of the tutorials from the variables of the examples:

python docs/tools/figures.py kalman_filter
"""

import contextlib
import io
import pathlib
import runpy
import sys


ROOT = pathlib.Path(__file__).parents[2]


def greeks(example: dict) -> None:
    figure, axes = style.new(5.2, 5, rows=3, sharex=True)
    colours = style.BLUE, style.ORANGE, style.GREEN
    for axis, name, colour in zip(axes.flat, example["known"], colours):
        axis.plot(example["spots"][::10], example["found"][name][::10], color=colour)
        axis.set_ylabel(name)
    axes[-1].set_xlabel("spot price")
    style.save(figure, "greeks")


def inverse_kinematics(example: dict) -> None:
    figure, axes = style.new(5, 3)
    axes.semilogy(example["misfits"], "o-", color=style.BLUE)
    axes.set_xlabel("iteration of Newton's method")
    axes.set_ylabel("misfit (m, rad)")
    style.save(figure, "inverse_kinematics")


def kalman_filter(example: dict) -> None:
    distance, bearing = example["observations"].T
    sines = example["jnp"].sin(bearing), example["jnp"].cos(bearing)
    measured = [distance * sines[1], distance * sines[0]]
    figure, axes = style.new(5, 3.5)
    axes.plot(*measured, ".", color=style.GREY, label="measured", markersize=3)
    truth, estimate = example["truth"], example["estimate"]
    axes.plot(*truth[:, :2].T, "--", color=style.ORANGE, label="truth")
    axes.plot(*estimate[:, :2].T, color=style.BLUE, label="estimate")
    axes.set_aspect("equal")
    axes.set_xlabel("x")
    axes.set_ylabel("y")
    axes.legend()
    style.save(figure, "kalman_filter")


def stiff_ode(example: dict) -> None:
    figure, axes = style.new(5.2, 3)
    ys, colours = example["solution"].ys, (style.BLUE, style.ORANGE, style.GREEN)
    for i, (colour, scale) in enumerate(zip(colours, (1, 1e4, 1))):
        label = f"$y_{i}$" + (" times 10,000" if scale > 1 else "")
        axes.semilogx(example["saved"], scale * ys[:, i], color=colour, label=label)
    axes.set_xlabel("time")
    axes.set_ylabel("concentration")
    axes.legend()
    style.save(figure, "stiff_ode")


def reaction_diffusion(example: dict) -> None:
    figure, (left, right) = style.new(5.2, 2.8, columns=2, width_ratios=(5, 4))
    solution, x = example["solution"], example["x"]
    for time, y in zip(solution.ts, solution.ys):
        shade = 0.25 + 0.75 * float(time) / 10
        left.plot(x[::50], y[: len(x) : 50], color=style.BLUE, alpha=shade)
    left.set_xlabel("position")
    left.set_ylabel("first species")
    left.set_title("t = 0 (light) to 10")
    small = example["jnp"].ones(24)
    matrix = example["jax"].jacfwd(example["brusselator"], argnums=1)(0.0, small, None)
    _entries(right, matrix, 9, "not zero (24 states)")
    style.save(figure, "reaction_diffusion")


def finite_elements(example: dict) -> None:
    """The mesh, and the entries of its Jacobian that are not zero."""
    problem = example["Poisson"](*example["mesh"](11))
    figure, (left, right) = style.new(5.2, 2.8, columns=2)
    left.triplot(*problem.nodes.T, problem.triangles, color=style.BLUE, lw=0.7)
    left.set_aspect("equal")
    left.set_axis_off()
    left.set_title("the mesh")
    start = example["jnp"].ones(len(problem.inner))
    matrix = example["jax"].jacfwd(problem)(start)
    _entries(right, matrix, 2, f"not zero ({len(start)} unknowns)")
    style.save(figure, "finite_elements")


def cutest(example: dict) -> None:
    """The entries of a Hessian that are not zero."""
    small = type(example["problem"]("SPARSQUR"))(n=100)
    matrix = example["jax"].hessian(lambda y: small.objective(y, None))(small.y0)
    figure, axes = style.new(3.6, 3.4)
    _entries(axes, matrix, 2, "SPARSQUR, 100 variables")
    style.save(figure, "cutest")


def _entries(axes, matrix, size: float, title: str) -> None:
    rows, columns = (abs(matrix) > 1e-12).nonzero()
    axes.scatter(columns, rows, s=size, marker="s", color=style.ORANGE)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_title(title)


PLACES = {0: (0, 1), 1: (0, -1), 2: (1.5, 0), 3: (3, 0), 4: (4.5, 0)}
PLACES |= {5: (6, 1), 6: (6, -1)}
NAMES = "x0 x1 v2 v3 v4 y0 y1".split()


def inside(example: dict) -> None:
    figure, axes = style.new(5, 2.2)
    _graph(axes, example["partials"], values=False)
    style.save(figure, "inside_graph")
    states = example["accumulate"](example["partials"], example["report"].order)
    style.save(_steps(states, example["report"].order), "inside_steps")
    frames = [_frame(*frame) for frame in _titled(states, example["report"].order)]
    style.save_animated(frames, "elimination")
    style.save(_counts(example["lighthouse"].plans), "inside_counts")


def _graph(axes, edges: dict, values: bool = True) -> None:
    """A graph with its partials, and only those vertices that are left in it."""
    arrow = {"arrowstyle": "-|>", "color": style.GREY, "shrinkA": 13, "shrinkB": 13}
    for (u, w), value in edges.items():
        axes.annotate("", PLACES[w], PLACES[u], arrowprops=arrow)
        if values:
            _value(axes, value, PLACES[u], PLACES[w])
    for vertex in {v for edge in edges for v in edge}:
        axes.plot(*PLACES[vertex], "o", ms=22, mfc="none", color=style.BLUE)
        axes.text(*PLACES[vertex], NAMES[vertex], ha="center", va="center")
    axes.set(xlim=(-0.5, 6.5), ylim=(-1.5, 1.5))
    axes.set_axis_off()


def _value(axes, value, start, end) -> None:
    """Beside the edge; and not where the edges of the last graph cross."""
    (x0, y0), (x1, y1) = start, end
    part = 0.5 if abs(x1 - x0) < 6 or y1 == y0 else 0.25
    up = 0.3 if y1 == y0 else 0.1
    side = {0: "center", 1: "right", -1: "left"}[(y1 > y0) - (y1 < y0)]
    at = x0 + part * (x1 - x0), y0 + part * (y1 - y0) + up
    axes.text(*at, f"{value:.2f}", ha=side, va="center", color=style.ORANGE)


def _steps(states, order):
    figure, panels = style.new(4.6, 8, rows=4)
    for axes, (title, edges) in zip(panels.flat, _titled(states, order)):
        _graph(axes, edges)
        axes.set_title(title)
    return figure


def _titled(states, order) -> list[tuple[str, dict]]:
    titles = ["the local partials", *(f"after eliminating v{v}" for v in order)]
    return [
        (f"{title}: {count} multiplication{'s' * (count != 1)}", edges)
        for title, (count, edges) in zip(titles, states)
    ]


def _frame(title: str, edges: dict):
    figure, axes = style.new(4.6, 2.1)
    _graph(axes, edges)
    axes.set_title(title)
    return figure


def _counts(plans):
    figure, axes = style.new(5, 3)
    styles = zip(plans.items(), ("-", "--", ":", "-"))
    colours = style.GREEN, style.ORANGE, style.GREY, style.BLUE
    for ((name, plan), line), colour in zip(styles, colours):
        counts = [0]
        for step in plan.steps:
            counts.append(counts[-1] + step.num_multiplications)
        label = f"{name}: {counts[-1]}"
        axes.plot(counts, line, marker="o", ms=4, color=colour, label=label)
    axes.set_xlabel("vertices eliminated")
    axes.set_ylabel("multiplications so far")
    axes.legend()
    return figure


DRAW = {
    draw.__name__: draw
    for draw in (
        cutest,
        finite_elements,
        greeks,
        inside,
        inverse_kinematics,
        kalman_filter,
        reaction_diffusion,
        stiff_ode,
    )
}

if __name__ == "__main__":
    import style

    for name in sys.argv[1:]:
        with contextlib.redirect_stdout(io.StringIO()):
            variables = runpy.run_path(str(ROOT / "examples" / f"{name}.py"))
        DRAW[name](variables)
