"""The figures of the documentation, which examples draw if they are asked to:

    EQX_CC_FIGURES=docs/figures python examples/kalman_filter.py

Without that variable they need no matplotlib.
"""

import io
import os
import pathlib
import re
from typing import Any


BLUE, ORANGE, GREEN, GREY = "#5c6bc0", "#ef6c00", "#26a69a", "#8a8a8a"
_INK = "#010203"  # Stands for the colour of the text around a figure.
_FOLDER = os.environ.get("EQX_CC_FIGURES")
_STYLE = (
    "<style>:root{color:#333}@media (prefers-color-scheme:dark){:root{color:#ccc}}"
    "</style>"
)


def wanted() -> bool:
    """Whether to draw."""
    return _FOLDER is not None


def new(
    width: float, height: float, columns: int = 1, rows: int = 1, **kwargs: Any
) -> Any:
    """A figure, of so many inches, and its axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    inked = "text.color", "axes.labelcolor", "axes.edgecolor"
    mpl.rcParams.update(dict.fromkeys((*inked, "xtick.color", "ytick.color"), _INK))
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "eqx_cc"})
    mpl.rcParams.update({"font.size": 11, "axes.spines.top": False})
    mpl.rcParams.update({"axes.spines.right": False, "legend.frameon": False})
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **kwargs)


def ink() -> str:
    """The colour of text."""
    return _INK


def save(figure, name: str) -> None:
    """Writes an SVG that has no colour of its own for text, and no background."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]*>", _shortened, text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 sans-serif", text)
    text = text.replace(_INK, "currentColor").replace(">", ">" + _STYLE, 1)
    assert _FOLDER is not None
    pathlib.Path(_FOLDER, f"{name}.svg").write_text(re.sub(r" +\n", "\n", text))


def _shortened(tag: re.Match) -> str:
    """Two decimals are enough for the coordinates in a tag."""
    return re.sub(r"(\d+\.\d\d)\d+", r"\1", tag[0])
