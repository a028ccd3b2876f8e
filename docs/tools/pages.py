"""Keeps the pages equal to what they show.

    python docs/tools/pages.py          # fills them
    python docs/tools/pages.py --check  # names those that are out of date

A comment before a block of code, which neither a forge nor the site shows, names a file
and the cells of it (`# %% name`) or the lines:

    <!-- examples/quickstart.py: imports, arm -->
    <!-- examples/output/inside.txt: 1-21 -->

The tables and sentences between `<!-- table: NAME -->` and `<!-- end -->` are made from
the measurements in `docs/benchmarks`, by `benchmarks.reports.pages`. So are the numbers
between `<!-- value: NAME -->` and `<!-- / -->`.
"""

import pathlib
import re
import sys
from collections.abc import Callable


ROOT = pathlib.Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

FILLED = re.compile(
    r"^(<!-- (examples/\S+?)(?:: ([\w, -]+))? -->\n```\w+\n)(?:.*?\n)??(```)$",
    re.MULTILINE | re.DOTALL,
)
_MADE = re.compile(
    r"^(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)$", re.MULTILINE | re.DOTALL
)
_VALUE = re.compile(r"(<!-- value: ([\w-]+) -->).*?(<!-- / -->)")
_CELL = re.compile(r"^# %%(?: (\w+))?\n", re.MULTILINE)


def cells(path: str) -> dict[str, str]:
    """The code of each named cell of a file."""
    _, *parts = _CELL.split((ROOT / path).read_text())
    return {n: code.strip("\n") for n, code in zip(parts[::2], parts[1::2]) if n}


def shown(path: str, chosen: str | None) -> str:
    """Some cells or lines of a file, or all of it."""
    text = (ROOT / path).read_text()
    if chosen is None:
        return text.rstrip("\n")
    if lines := re.fullmatch(r"(\d+)-(\d+)", chosen):
        first, last = map(int, lines.groups())
        return "\n".join(text.splitlines()[first - 1 : last])
    first, *others = (cells(path)[name] for name in chosen.split(", "))
    # As formatted: two empty lines around definitions.
    gaps = ("\n\n\n" if re.match(r"def |class |@", c) else "\n\n" for c in others)
    return first + "".join(gap + code for gap, code in zip(gaps, others))


def makers() -> tuple[dict[str, Callable[[], str]], dict[str, Callable[[], str]]]:
    """What makes each table or sentence, and each number, by name."""
    sys.path.insert(0, str(ROOT))
    from benchmarks.reports.pages import TABLES, VALUES

    return TABLES, VALUES


def filled(text: str) -> str:
    """A page, with the blocks, tables and numbers as they have to be."""
    text = FILLED.sub(lambda m: f"{m[1]}{shown(m[2], m[3])}\n{m[4]}", text)
    if not _MADE.search(text) and not _VALUE.search(text):
        return text
    tables, values = makers()
    text = _MADE.sub(lambda m: f"{m[1]}\n{tables[m[2]]()}\n\n{m[3]}", text)
    return _VALUE.sub(lambda m: f"{m[1]}{values[m[2]]()}{m[3]}", text)


def main() -> None:
    stale = [page for page in PAGES if filled(page.read_text()) != page.read_text()]
    if "--check" in sys.argv:
        names = [str(page.relative_to(ROOT)) for page in stale]
        sys.exit("\n".join(names) or None)
    for page in stale:
        page.write_text(filled(page.read_text()))


if __name__ == "__main__":
    main()
