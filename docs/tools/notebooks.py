"""Turns pages of the documentation into notebooks, without outputs:

python docs/tools/notebooks.py FOLDER

A notebook has the text of its page and all Python of it, which runs from top to bottom.
The site has a link to it at the top of the page (`docs/hooks/render.py`).
"""

import json
import pathlib
import re
import sys
from typing import Any


DOCS = pathlib.Path(__file__).parents[1]
# Every page of a tutorial; and those that show the other examples.
PAGES = (
    *(DOCS / "getting-started.md", DOCS / "extending.md"),
    *sorted((DOCS / "tutorials").glob("*.md")),
)

# What needs an extra, by the extra.
_EXTRAS = {
    "plot": r"\.plot\(|\.spy\(|\bmatplotlib\b",
    "policy": r"num_simulations|AlphaZero|\bmctx\b",
    "sparse": r"\bKLU\b",
}
_CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OUTPUT = re.compile(
    r"^<!-- examples/output/\S+?(?:: [\d-]+)? -->\n```text\n.*?^```$"
    r"|(?<=^```\n\n)```text\n.*?^```$",
    re.MULTILINE | re.DOTALL,
)
# What a notebook says elsewhere, or does by itself: how to install, the place of the
# script, a sentence that leads to an output.
_ELSEWHERE = re.compile(
    r"^## Installation\n.*?(?=^## )"
    r"|The scripts? (?:is|are) `examples/[^\n]*? in the repository\. ?"
    r"|(?:^|(?<= ))[^.:\n]* prints:$",
    re.MULTILINE | re.DOTALL,
)
_LEADS = re.compile(r":(?=\n\n(?:<!-- examples/output/|!\[|```text))")
_FIGURE = re.compile(r"^!\[.*?\]\(.*?\)$", re.MULTILINE)


def notebook(page: pathlib.Path) -> dict[str, Any]:
    """A notebook of the format of Jupyter, version 4.5."""
    text = _LEADS.sub(".", _ELSEWHERE.sub("", page.read_text()))
    text = _FIGURE.sub("", _OUTPUT.sub("", text))
    first, *parts = _CODE.split(text)
    heading, _, rest = first.partition("\n")
    extras = [
        n for n, words in _EXTRAS.items() if re.search(words, "".join(parts[::2]))
    ]
    cells = [_markdown(f"{heading}\n\n{_install(extras)}"), _markdown(rest)]
    for code, words in zip(parts[::2], parts[1::2]):
        cells += [_code(code), _markdown(words)]
    cells = [cell for cell in cells if cell["source"]]
    for i, cell in enumerate(cells):
        cell["id"] = f"cell-{i}"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    about = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def text(page: pathlib.Path) -> str:
    """The file of a notebook."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


def _install(extras: list[str]) -> str:
    extra = f'".[{",".join(extras)}]"' if extras else "."
    return (
        "This notebook needs eqx_cc and Jupyter. From a clone of the repository of "
        f"eqx_cc, install both:\n\n```bash\npython -m pip install -e {extra} jupyterlab"
        "\n```"
    )


def _code(source: str) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": _lines(source.strip("\n")),
    }


def _markdown(source: str) -> dict[str, Any]:
    source = re.sub(r"<!--.*?-->", "", source)
    # Links lead to other pages of the site, or to the API.
    source = re.sub(r"\[([^\]\n]+)\]\[[\w.]*\]", r"\1", source)
    source = re.sub(r"\[([^\]\n]+)\]\((?!https://)[^)\n]+\)", r"\1", source)
    source = re.sub(r"[ \n]*\n\n+", "\n\n", source).strip()
    return {"cell_type": "markdown", "metadata": {}, "source": _lines(source)}


def _lines(source: str) -> list[str]:
    return source.splitlines(keepends=True)


def main() -> None:
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        (folder / f"{page.stem}.ipynb").write_text(text(page))


if __name__ == "__main__":
    main()
