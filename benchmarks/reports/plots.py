"""Plots of the ratios that were measured."""

from collections.abc import Sequence

from ..harness.measure import Row


def plot(path: str, rows: Sequence[Row], about: dict) -> None:
    """Draws the ratio of every contestant, a panel for each setting and type."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Patch

    hidden = "jax.jacfwd", "jax.jacrev", "floor", "floor structured", "copy"
    shown = [r for r in rows if r.ratio is not None and r.contestant not in hidden]
    panels = list(dict.fromkeys((row.setting, row.dtype) for row in shown))
    names = list(dict.fromkeys(row.contestant for row in shown))
    colours = dict(zip(names, plt.get_cmap("tab10").colors))  # pyright: ignore
    bars = [[r for r in shown if (r.setting, r.dtype) == panel] for panel in panels]
    heights = [max(1.5, 0.16 * len(b) + 0.12 * len({r.case for r in b})) for b in bars]
    figure, axes = plt.subplots(
        max(1, len(panels)),
        figsize=(9.0, sum(heights) + 1.0 * len(panels) + 1.0),
        height_ratios=heights or [1.0],
        layout="constrained",
        squeeze=False,
    )
    for axis, panel, members in zip(axes[:, 0], panels, bars):
        _draw(axis, members, colours)
        axis.set_title(", ".join(panel), loc="left")
    handles = [Patch(color=colours[name]) for name in names]
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False)
    title = f"{about.get('processor')} ({about.get('device')})"
    figure.supxlabel(
        f"times faster than the better of jax.jacfwd and jax.jacrev\n{title}"
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw(axis, rows: list[Row], colours: dict) -> None:
    """A bar for each row, with its quartiles; the bars of a case stand together."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    place, ticks = 0.0, []
    for case in dict.fromkeys(row.case for row in rows):
        members = [row for row in rows if row.case == case]
        ticks.append((place + (len(members) - 1) / 2, case))
        for row in members:
            ratio, low, high = (
                row.ratio or 0.0,
                row.ratio_lower_quartile or 0.0,
                row.ratio_upper_quartile or 0.0,
            )
            spread = [[max(0.0, ratio - low)], [max(0.0, high - ratio)]]
            bar = {"xerr": spread, "error_kw": {"lw": 0.7, "ecolor": "0.3"}}
            # From 1, so that what is slower points the other way.
            bar |= {"color": colours[row.contestant], "height": 0.9, "left": 1.0}
            axis.barh(place, ratio - 1.0, **bar)
            place += 1.0
        place += 0.7
    axis.set_yticks(*zip(*ticks), fontsize=8)
    axis.invert_yaxis()
    axis.margins(y=0.01)
    axis.set_xscale("log")
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(plain)
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.axvline(1.0, color="black", lw=0.8)
    axis.grid(axis="x", which="both", lw=0.3)
    axis.spines[["top", "right"]].set_visible(False)
