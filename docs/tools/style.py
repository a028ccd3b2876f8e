"""The look of the figures: SVG without a background, whose text takes the colour of the
text around it."""

import io
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure


BLUE, ORANGE, GREEN, GREY = "#5c6bc0", "#ef6c00", "#26a69a", "#8a8a8a"
INK = "#010203"  # Stands for the colour of the text around a figure.
FOLDER = pathlib.Path(__file__).parents[1] / "figures"
_STYLE = (
    "<style>:root{color:#333}@media (prefers-color-scheme:dark){:root{color:#ccc}}"
    "</style>"
)


def new(
    width: float, height: float, columns: int = 1, rows: int = 1, **kwargs: Any
) -> Any:
    """A figure, of so many inches, and its axes."""
    inked = "text.color", "axes.labelcolor", "axes.edgecolor"
    mpl.rcParams.update(dict.fromkeys((*inked, "xtick.color", "ytick.color"), INK))
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "eqx_cc"})
    # A phone has 358 pixels for a figure. In 5.2 inches, 11 points are 10 of them.
    assert width <= 5.2
    mpl.rcParams.update({"font.size": 11, "axes.titlesize": "medium"})
    mpl.rcParams.update({"axes.spines.top": False})
    mpl.rcParams.update({"axes.spines.right": False, "legend.frameon": False})
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **kwargs)


def save(figure, name: str) -> None:
    """Writes an SVG that has no colour of its own for text, and no background."""
    text = _svg(figure).replace(">", ">" + _STYLE, 1)
    (FOLDER / f"{name}.svg").write_text(text)


def save_animated(figures: Sequence[Any], name: str) -> None:
    """Writes figures of one size as one that shows them in turn; the first
    alone for readers who prefer less motion."""
    texts = [_svg(figure) for figure in figures]
    head, count = texts[0][: texts[0].index(">") + 1], len(texts)
    rules = (
        f".frame{{opacity:0;animation:frame {2 * count}s step-end infinite}}"
        ".frame0{opacity:1}"
        f"@keyframes frame{{0%{{opacity:1}}{100 / count:g}%{{opacity:0}}}}"
        "@media (prefers-reduced-motion:reduce){.frame{animation:none}}"
    )
    groups = []
    for i, text in enumerate(texts):
        inner = text[text.index(">") + 1 : text.rindex("</svg>")]
        inner = re.sub(r'(id="|href="#|url\(#)', rf"\1frame{i}-", inner)
        delay = f"animation-delay:{2 * i}s"
        groups.append(f'<g class="frame frame{i}" style="{delay}">{inner}</g>')
    style = _STYLE.replace("</style>", f"{rules}</style>")
    (FOLDER / f"{name}.svg").write_text(f"{head}{style}{''.join(groups)}</svg>\n")


def _svg(figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", _shortened, text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 sans-serif", text)
    return re.sub(r" +\n", "\n", text.replace(INK, "currentColor"))


def _shortened(tag: re.Match) -> str:
    """Two decimals are enough for the coordinates in a tag."""
    return re.sub(r"(\d+\.\d\d)\d+", r"\1", tag[0])
