"""Tables, JSON and plots of what was measured."""

import json
import os
import pathlib
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib import metadata

import jax

from ._measure import Row


HEADS = ("case", "setting", "dtype", "contestant", "time", "quartiles", "ratio")
HEADS += ("trace + compile (s)", "again", "temp", "GB/s", "of copy")


def machine() -> dict[str, str | int]:
    """What the times were taken on."""
    found: dict[str, str | int] = {
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "device": jax.devices()[0].device_kind,
        "backend": jax.default_backend(),
        "python": platform.python_version(),
    }
    for package in ("jax", "equinox", "eqx_cc", "asdex", "sparsejac", "casadi"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    """The name that the kernel has for it; `platform` often has none."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor() or platform.machine()


def save(path: str, rows: Sequence[Row], about: dict) -> None:
    """Writes everything as JSON."""
    found = {"machine": about, "rows": [asdict(row) for row in rows]}
    pathlib.Path(path).write_text(json.dumps(found, indent=1) + "\n")


def load(path: str) -> tuple[list[Row], dict]:
    """What `save` wrote."""
    found = json.loads(pathlib.Path(path).read_text())
    return [Row(**row) for row in found["rows"]], found["machine"]


def seconds(value: float | None) -> str:
    """A time with a unit."""
    if value is None:
        return ""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def size(value: int | None) -> str:
    """A number of bytes with a unit."""
    if value is None:
        return ""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value} B"


def compile_seconds(row: Row, *, again: bool = False) -> float | None:
    """To trace, lower and compile, the first time or with orders known."""
    before = (row.retrace,) if again else (row.trace, row.lower)
    stages = [*before, row.compile]
    known = [stage for stage in stages if stage is not None]
    return sum(known) if len(known) == len(stages) else None


def cells(row: Row) -> list[str]:
    """One line of the table."""
    start = [row.case, row.setting, row.dtype, row.contestant]
    if row.status != "ok":
        return [*start, f"{row.status}: {row.reason}"]
    spread = f"{seconds(row.lower_quartile)} to {seconds(row.upper_quartile)}"
    compiled, again = compile_seconds(row), compile_seconds(row, again=True)
    return [
        *start,
        seconds(row.median),
        spread,
        "" if row.ratio is None else f"{row.ratio:.2f}",
        "" if compiled is None else f"{compiled:.2f}",
        "" if again is None else f"{again:.2f}",
        size(row.temp_bytes),
        "" if row.bandwidth is None else f"{row.bandwidth / 1e9:.2f}",
        "" if row.of_copy is None else f"{row.of_copy:.0%}",
    ]


def line(texts: Iterable[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(text.replace("|", "/") for text in texts) + " |"


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    padded = [[*texts, *[""] * (len(heads) - len(texts))] for texts in lines]
    return "\n".join([line(heads), "|" + " --- |" * len(heads), *map(line, padded)])


def markdown(rows: Sequence[Row], about: dict) -> str:
    """The machine, and a table of those that took part."""
    took_part = [row for row in rows if row.status in ("ok", "ERROR")]
    versions = [f"{k} {about[k]}" for k in ("jax", "equinox", "eqx_cc") if k in about]
    text = (
        f"{about.get('processor')}, {about.get('cores')} cores, on the backend "
        f"{about.get('backend')} ({about.get('device')}); {', '.join(versions)}."
    )
    return f"{text}\n\n{table(HEADS, map(cells, took_part))}\n"


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
        own = [row for row in rows if row.case == case]
        ticks.append((place + (len(own) - 1) / 2, case))
        for row in own:
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
