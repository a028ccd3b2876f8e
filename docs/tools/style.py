"""The look of the figures: SVG without a background, whose text takes the colour of the
text around it."""

import io
import pathlib
import re
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
    mpl.rcParams.update({"font.size": 11, "axes.spines.top": False})
    mpl.rcParams.update({"axes.spines.right": False, "legend.frameon": False})
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **kwargs)


def save(figure, name: str) -> None:
    """Writes an SVG that has no colour of its own for text, and no background."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", _shortened, text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 sans-serif", text)
    text = text.replace(INK, "currentColor").replace(">", ">" + _STYLE, 1)
    (FOLDER / f"{name}.svg").write_text(re.sub(r" +\n", "\n", text))


def _shortened(tag: re.Match) -> str:
    """Two decimals are enough for the coordinates in a tag."""
    return re.sub(r"(\d+\.\d\d)\d+", r"\1", tag[0])
