"""Every example, and every block of Python in the README and on the pages of the
documentation, in processes of their own: with JAX as a user has it, not as
`conftest.py` sets it."""

import math
import pathlib
import re
import sys

import pytest


ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "examples"))
from _make import EXAMPLES, FIGURES, OUTPUT, run  # noqa: E402


README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "docs").rglob("*.md"))

# A block of code, and the block of what it prints if one follows.
_BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_SHOWN = re.compile(r'^--8<-- "(\S+?)(?::(\w+))?"$', re.MULTILINE)
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d*)?(?:e[-+]?\d+)?")

# What a page takes for granted.
_FUNCTION = """
import eqx_cc
import jax
import jax.numpy as jnp

fun, x = lambda x: jnp.sin(x) * jnp.sum(x), jnp.arange(3.0)
"""
_SYSTEM = """
import diffrax
import eqx_cc
import jax.numpy as jnp
import lineax as lx
import optimistix as optx

fn, y, args, h = lambda y, args: y + jnp.sin(y), jnp.ones(3), None, 0.1
vector_field = lambda t, y, args: -y
operator, vector = lx.JacobianLinearOperator(fn, y), jnp.ones(3)
"""
_BEFORE = {"orders.md": _FUNCTION, "solvers.md": _SYSTEM}


def agree(printed: str, expected: str) -> bool:
    """Whether two outputs are the same but for rounding."""
    if _NUMBER.sub("", printed).split() != _NUMBER.sub("", expected).split():
        return False
    pairs = zip(_NUMBER.findall(printed), _NUMBER.findall(expected), strict=True)
    return all(
        math.isclose(_float(a), _float(b), rel_tol=1e-2, abs_tol=1e-9) for a, b in pairs
    )


def _float(number: str) -> float:
    return float(number.replace(",", ""))


def test_outputs_are_compared():
    assert agree("error 3e-16 of 1,000", "error 1e-15 of 1,000")
    assert not agree("error 3e-05", "error 1e-15")
    assert not agree("steps 12", "steps 13")
    assert not agree("iterations: 12", "steps: 12")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path, tmp_path):
    """`python examples/_make.py` writes the outputs and the figures anew."""
    printed = run(str(path), EQX_CC_FIGURES=str(tmp_path))
    assert agree(printed, (OUTPUT / f"{path.stem}.txt").read_text()), printed
    for figure in tmp_path.iterdir():
        assert (FIGURES / figure.name).exists()


def test_an_example_without_matplotlib():
    """Figures are for the documentation alone."""
    hidden = "import sys, runpy; sys.modules['matplotlib'] = None; "
    assert run("-c", hidden + "runpy.run_path('examples/_figures.py')") == ""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_sections_are_closed(path):
    """The documentation pulls sections in by name: one left open pulls in the rest."""
    markers = re.findall(r"# --8<-- \[(start|end):(\w+)\]", path.read_text())
    starts, ends = markers[::2], markers[1::2]
    assert [("end", name) for _, name in starts] == ends


def test_pages_show_sections_that_are_there():
    text = "".join(page.read_text() for page in PAGES)
    shown = _SHOWN.findall(text)
    assert len(shown) > 0 and len(shown) == len(re.findall(r"8 ?< ?-", text))
    for path, section in shown:
        assert (ROOT / path).exists()
        assert f"# --8<-- [start:{section}]" in (ROOT / path).read_text() or not section


def test_every_example_is_shown():
    text = "".join(page.read_text() for page in PAGES)
    assert {f"examples/{path.name}" for path in EXAMPLES} <= {
        path for path, _ in _SHOWN.findall(text)
    }


def _own_blocks(page: pathlib.Path) -> list[tuple[str, str]]:
    """Those that are not pulled in from an example."""
    blocks = _BLOCK.findall(page.read_text())
    return [(code, printed) for code, printed in blocks if "--8<--" not in code]


@pytest.mark.parametrize(
    "page", [p for p in PAGES if _own_blocks(p)], ids=lambda page: page.stem
)
def test_blocks_of_page(page, tmp_path):
    """They run as one script, and print what the page says that they print."""
    blocks = _own_blocks(page)
    before = _BEFORE.get(page.name, "")
    inside = f"import os; os.chdir({str(tmp_path)!r})\n"
    script = inside + before + "\n".join(code for code, _ in blocks)
    # Searches show their progress there.
    printed = run("-c", "import sys; sys.stderr = sys.stdout\n" + script)
    for _, expected in blocks:
        assert not expected or agree_somewhere(printed, expected), printed


def agree_somewhere(printed: str, expected: str) -> bool:
    lines, count = printed.splitlines(), len(expected.splitlines())
    return any(
        agree("\n".join(lines[i : i + count]), expected)
        for i in range(len(lines) - count + 1)
    )


def test_readme_blocks():
    """They run as one script, and print what the README says that they print."""
    blocks = _BLOCK.findall(README)
    assert len(blocks) > 0
    script = "\n".join(code for code, _ in blocks)
    assert run("-c", script) == "".join(output for _, output in blocks)


@pytest.mark.parametrize("command", re.findall(r"^python .*$", README, re.M))
def test_readme_commands_name_what_is_there(command):
    paths = re.findall(r"\S+\.(?:py|md|toml)\b", command)
    assert all((ROOT / path).exists() for path in paths)


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_relative_links(page):
    """They are read on the site that holds the repository."""
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    for link in links:
        assert link.startswith("https://") or (ROOT / link).exists(), link
