"""The notebooks that readers download: they are as their pages are, have all examples,
and run from top to bottom."""

import importlib.util
import re

import pytest
from tests.printed import agree, EXAMPLES, run_optimised, tool


NOTEBOOKS, FILLED = tool("notebooks"), tool("pages").FILLED
# It takes as long as all others. Rounding changes how training goes, so that another
# release of JAX prints other numbers.
LONG = {"train_policy"}
_PRINTED = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# In a kernel of its own, without a port that others could see.
_RUN = """
import os
import subprocess
import sys
import tempfile
import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

notebook = nbformat.reads(sys.stdin.read(), 4)
nbformat.validate(notebook)
with tempfile.TemporaryDirectory() as folder:
    kernel = {"transport": "ipc", "ip": os.path.join(folder, "kernel")}
    config = Config({"KernelManager": kernel})
    # What cells print is in their outputs: a kernel that ends may complain of sockets.
    client = NotebookClient(notebook, config=config, timeout=600)
    client.execute(stderr=subprocess.DEVNULL)
for cell in notebook.cells:
    for output in cell.get("outputs", ()):
        assert output["output_type"] != "stream" or output["name"] == "stdout", output
        print(output.get("text", ""))
"""


def _code(page) -> list[str]:
    cells = NOTEBOOKS.notebook(page)["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


@pytest.mark.parametrize("page", NOTEBOOKS.PAGES, ids=lambda page: page.stem)
def test_notebooks_are_the_pages(page):
    blocks = re.findall(r"^```python\n(.*?)\n```$", page.read_text(), re.M | re.S)
    assert _code(page) == blocks
    cells = NOTEBOOKS.notebook(page)["cells"]
    assert "python -m pip install -e ." in "".join(cells[0]["source"])
    words = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    assert "<!--" not in words and "](../" not in words and "][" not in words


def test_notebooks_have_every_example():
    """Every cell that has a name is in one of them."""
    shown = set()
    for page in NOTEBOOKS.PAGES:
        for _, path, names, _ in FILLED.findall(page.read_text()):
            shown |= {(path, name) for name in (names or "").split(", ")}
    for example in EXAMPLES:
        path = f"examples/{example.name}"
        cells = tool("pages").cells(path)
        # What a page has shown already, it need not import again.
        missing = {name for name in cells if (path, name) not in shown} - {"imports"}
        assert not missing, (path, missing)


def test_extras_are_named():
    assert NOTEBOOKS._install(["sparse"]).count('".[sparse]"') == 1
    assert "[" not in NOTEBOOKS._install([])


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("nbclient", "ipykernel"))),
    reason="needs the extra `docs`",
)
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.slow if page.stem in LONG else ())
        for page in NOTEBOOKS.PAGES
    ],
    ids=lambda page: page.stem,
)
def test_notebooks_run(page):
    """They print what their page shows."""
    printed = run_optimised("-c", _RUN, given=NOTEBOOKS.text(page)).splitlines()
    lines = "".join(_PRINTED.findall(page.read_text())).splitlines()
    for line in lines:
        # Places in the code are those of cells.
        if "examples/" not in line:
            same = _same_words if page.stem in LONG else agree
            assert any(same(other, line) for other in printed), (line, printed)


def _same_words(printed: str, expected: str) -> bool:
    return re.sub(r"[\d.]+", "", printed) == re.sub(r"[\d.]+", "", expected)
