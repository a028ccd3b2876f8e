"""Times of Jacobians, next to those of other ways to them.

    python -m benchmarks.runtime --group headline

prints the table of goals, and what was measured (`--group peers` has the sparse
Jacobians, next to those of packages that colour patterns);

    python -m benchmarks.runtime [--group NAME ...] [--case TEXT ...]
        [--setting NAME ...] [--dtype NAME ...] [--contestant NAME ...]
        [--seconds 2] [--json FILE] [--plot FILE] [--markdown FILE] [--list]

a row for each case (those of which the name contains the text), setting, type and
contestant, as they are measured. `--from FILE` reads what an earlier run wrote with
`--json` in place of measuring. Peers come with `pip install "eqx_cc[benchmarks]"`.

`ratio` is the better median of `jax.jacfwd` and `jax.jacrev` in the same run, by that
of the contestant. Every Jacobian is compared with that of `jax.jacfwd` before it is
timed; one that differs is an ERROR, and not timed. `benchmarks.harness.timing` says
what is timed.
"""

import argparse
import itertools
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from .cases import Case, CASES, SETTINGS
from .harness import rows as files
from .harness.contestants import contestants
from .harness.measure import measure, Row
from .reports import headline, peers, tables
from .reports.plots import plot


HEADLINE = "headline"
# Groups of chosen cases, settings and contestants.
_CHOSEN = {HEADLINE: headline.BLOCKS, "peers": peers.BLOCKS}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.runtime",
        description="How long Jacobians take, next to those of other ways to them.",
    )
    groups = [*dict.fromkeys(case.group for case in CASES.values()), *_CHOSEN]
    several: dict[str, Any] = {"action": "extend", "nargs": "+", "metavar": "NAME"}
    parser.add_argument("--group", default=[], choices=groups, **several)
    parser.add_argument("--case", default=[], **several)
    parser.add_argument("--setting", default=[], choices=SETTINGS, **several)
    dtypes = "float64", "float32"
    parser.add_argument("--dtype", default=[], choices=dtypes, **several)
    names = list(contestants())
    parser.add_argument("--contestant", default=[], choices=names, **several)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="of sampling for each table block"
    )
    for name in ("--json", "--plot", "--markdown", "--from"):
        parser.add_argument(name, metavar="FILE")
    parser.add_argument("--list", action="store_true", help="lists the cases and stops")
    return parser.parse_args()


def _chosen_blocks(group: str) -> Iterator[tuple[Case, str, tuple[str, ...]]]:
    for cases, setting, names in _CHOSEN[group]:
        yield from ((CASES[case], setting, names) for case in cases)


def _blocks(options: argparse.Namespace) -> Iterator[tuple[Case, str, tuple[str, ...]]]:
    """Cases with a setting and the contestants, as the options choose."""
    chosen = [group for group in options.group if group in _CHOSEN]
    if chosen:
        blocks = itertools.chain.from_iterable(map(_chosen_blocks, chosen))
    else:
        names = tuple(contestants())
        blocks = ((c, s, names) for c in CASES.values() for s in SETTINGS)
    groups = set(options.group) - set(chosen)
    for case, setting, names in blocks:
        wanted = not options.case or any(text in case.name for text in options.case)
        wanted &= not groups or case.group in groups
        wanted &= setting in (options.setting or SETTINGS)
        names = tuple(n for n in names if n in (options.contestant or names))
        if wanted and case.fits(setting):
            yield case, setting, names


def _measured(options: argparse.Namespace, about: dict) -> list[Row]:
    """Measures, and prints every row when it is there: to the standard error output if
    what is wanted is the table of goals."""
    out = sys.stderr if HEADLINE in options.group else sys.stdout
    everyone, rows = contestants(), []
    print(tables.table(tables.HEADS, []), file=out, flush=True)
    for dtype in options.dtype or ["float64"]:
        for case, setting, names in _blocks(options):
            chosen = {name: everyone[name] for name in names}
            new = measure(case, setting, dtype, chosen, options.seconds)
            for row in new:
                if row.status != "refused" or options.contestant:
                    print(tables.line(tables.cells(row)), file=out, flush=True)
            rows += new
            if options.json:
                files.save(options.json, rows, about)
    return rows


def main() -> None:
    options = _options()
    jax.config.update("jax_enable_x64", True)
    if options.list:
        for case in CASES.values():
            settings = [setting for setting in SETTINGS if case.fits(setting)]
            print(f"{case.group}: {case.name} ({', '.join(settings)})")
        return
    jax.jit(jax.jacfwd(jnp.sin))(1.0)  # Whoever is first is not to start up JAX.
    if getattr(options, "from"):
        rows, about = files.load(getattr(options, "from"))
    else:
        about = files.machine()
        rows = _measured(options, about)
    if HEADLINE in options.group:
        for dtype in options.dtype or ["float64"]:
            lines = headline.lines(rows, dtype)
            print(f"{about['processor']}, {about['device']}, {dtype}\n")
            print(tables.table(("case", "goal", "measured"), lines), flush=True)
    if options.markdown:
        pathlib.Path(options.markdown).write_text(tables.markdown(rows, about))
    if options.plot:
        plot(options.plot, rows, about)


if __name__ == "__main__":
    main()
