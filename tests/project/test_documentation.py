"""Every public name is on a page of the API, and its documentation is whole; the code
of the pages and of the docstrings runs, with JAX as a user has it."""

import importlib.util
import inspect
import json
import re
import types

import eqx_cc
import eqx_cc.policy
import pytest
from tests.printed import agree, BLOCK, PAGES, ROOT, run, tool


API = "".join(page.read_text() for page in (ROOT / "docs" / "api").glob("*.md"))
PUBLIC = {
    f"{module.__name__}.{name}": value
    for module in (eqx_cc, eqx_cc.policy)
    for name, value in vars(module).items()
    if not name.startswith("_") and not isinstance(value, types.ModuleType)
}
_EXAMPLE = re.compile(
    r"^( *)```python\n(.*?)^ *```$(?:\n\n *```text\n(.*?)^ *```$)?",
    re.MULTILINE | re.DOTALL,
)

# What the code of docstrings takes for granted.
_BEFORE = """
import diffrax
import equinox as eqx
import eqx_cc
import eqx_cc.policy
import jax
import jax.extend as jex
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
import optimistix as optx

jax.config.update("jax_enable_x64", True)
fun = model = lambda x: jnp.sin(x) * jnp.sum(x)
x = y = jnp.arange(1.0, 4.0)
fn, args, h = lambda y, args: y + y**3, None, 0.1
vector_field = lambda t, y, args: -y
operator, vector = lx.JacobianLinearOperator(fn, y), jnp.ones(3)
graph = eqx_cc.trace(fun, x).graph
double_p = jex.core.Primitive("double")
"""
# What needs a package of an extra that the tests do without.
_EXTRA = {"eqx_cc.KLU": "klujax"}
_ABSENT = {n for n, package in _EXTRA.items() if not importlib.util.find_spec(package)}
# A third of the time for a hundredth of the code: training, and large networks.
_LONG = {
    "docs/policy.md",
    "eqx_cc.policy.AbstractAgent",
    "eqx_cc.policy.EdgeTransformer",
}

# Runs one piece of code after the other, and prints what each of them prints.
_RUN = """
import contextlib, io, json, os, pathlib, sys, traceback
import jax

os.chdir(sys.argv[1])
printed = {}
for name, code in json.loads(pathlib.Path("code.json").read_text()).items():
    jax.config.update("jax_enable_x64", False)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        try:
            exec(code, {})
        except Exception:
            print("FAILED", name, traceback.format_exc())
    printed[name] = out.getvalue()
print(json.dumps(printed))
"""


def test_every_public_name_is_on_one_page():
    shown = re.findall(r"^::: (\S+)$", API, re.MULTILINE)
    assert sorted(shown) == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_documentation_is_whole(name):
    """Functions say what they take and return; what can be made says of what."""
    value = PUBLIC[name]
    text = inspect.getdoc(value) or ""
    assert len(text) > 0
    if inspect.isfunction(value):
        asked = inspect.signature(value).parameters
        assert "**Returns:**" in text
        assert "**Arguments:**" in text or not asked


def test_constructors_are_shown_with_their_defaults():
    pytest.importorskip("griffe")
    constructor = tool("constructors").constructor
    expected = 'Annealing(seconds=10.0, seed=0, cost="multiplications")'
    assert constructor(eqx_cc.Annealing) == expected
    assert constructor(eqx_cc.Partial) is constructor(eqx_cc.AbstractCost) is None
    for value in filter(inspect.isclass, PUBLIC.values()):
        assert "0x" not in (constructor(value) or "")


def _examples() -> dict[str, tuple[str, str]]:
    """The code of each docstring, and its output where this is shown."""
    found = {}
    for name, value in PUBLIC.items():
        code = printed = ""
        for indent, *blocks in _EXAMPLE.findall(inspect.getdoc(value) or ""):
            texts = [re.sub(f"^{indent}", "", b, flags=re.MULTILINE) for b in blocks]
            code, printed = code + texts[0], printed + texts[1]
        if code:
            found[name] = _BEFORE + code, printed
    return found


def _page_blocks() -> dict[str, tuple[str, str]]:
    """All code of each page, from top to bottom, and its output. The other pages run as
    notebooks (`test_notebooks.py`)."""
    found = {}
    for page in sorted({*PAGES} - {*tool("notebooks").PAGES}):
        blocks = BLOCK.findall(page.read_text())
        if blocks:
            code = "\n".join(code for code, _ in blocks)
            printed = "".join(printed for _, printed in blocks)
            found[str(page.relative_to(ROOT))] = code, printed
    return found


@pytest.mark.parametrize("long", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_code_of_pages_and_docstrings(long, tmp_path):
    """In one process, as much of the time goes into starting one."""
    pages, examples = (
        {
            name: blocks
            for name, blocks in of_name.items()
            if (name in _LONG) == long and name not in _ABSENT
        }
        for of_name in (_page_blocks(), _examples())
    )
    assert len(pages) > 0 and len(examples) > 0
    blocks = pages | examples
    code = {name: code for name, (code, _) in blocks.items()}
    assert not long or code.keys() == _LONG
    text = re.sub(r"seconds=[\d.]+", "seconds=0.3", json.dumps(code))  # Enough here.
    (tmp_path / "code.json").write_text(text)
    printed = json.loads(run("-c", _RUN, str(tmp_path)))
    failed = [text for text in printed.values() if text.startswith("FAILED")]
    assert not failed, "\n".join(failed)
    for name, (_, expected) in blocks.items():
        assert not expected or agree(printed[name], expected), (name, printed[name])


def test_numbers_in_the_words_for_charts():
    """What a screen reader says of a chart is what it shows."""
    pages = "".join(page.read_text() for page in (ROOT / "README.md", *PAGES))
    charts = re.findall(
        r"!\[(Times faster[^\]]*)\]\([^)]*/?(figures/\w+\.svg)\)", pages
    )
    assert len(charts) >= 4
    for words, path in charts:
        shown = re.findall(r">\s*([\d.]+)</text>", (ROOT / "docs" / path).read_text())
        # The 128 states are part of a name.
        said = {*re.findall(r"(?<![\w.])[\d.]*\d", words)} - {"128"}
        assert said <= {*shown}, (words, shown)
