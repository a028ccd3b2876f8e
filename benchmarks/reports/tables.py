"""Tables in Markdown, and units."""

import math
from collections.abc import Iterable, Sequence

from ..harness.measure import Row


HEADS = ("case", "setting", "dtype", "contestant", "time", "quartiles", "ratio")
HEADS += ("trace + compile (s)", "again", "temp", "GB/s", "of copy")


def seconds(value: float | None) -> str:
    """A time with a unit."""
    if value is None:
        return ""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def factor(value: float | None) -> str:
    """By how many times; empty if nobody knows."""
    if value is None or math.isnan(value):
        return ""
    return f"{value:.2g}" if value < 99 else f"{value:.0f}"


def size(value: int | None) -> str:
    """A number of bytes with a unit."""
    if value is None:
        return ""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}"
    return f"{value} B"


def compile_seconds(row: Row, *, again: bool = False) -> float | None:
    """Seconds to trace, lower and compile, at first or `again` with orders cached."""
    before = (row.retrace,) if again else (row.trace, row.lower)
    stages = [*before, row.compile]
    timed = [stage for stage in stages if stage is not None]
    return sum(timed) if len(timed) == len(stages) else None


def cells(row: Row) -> list[str]:
    """Cells of a row of the table."""
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
    """Line of a Markdown table."""
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
