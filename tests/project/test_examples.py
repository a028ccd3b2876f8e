"""Every example, and every block of Python in the README, in a process of its own: with
JAX as a user has it, not as `conftest.py` sets it."""

import importlib.util
import re

import pytest
from jax import lax
from tests.printed import (
    agree,
    BLOCK,
    EXAMPLES,
    OUTPUT,
    PAGES,
    ROOT,
    run_optimised,
    tool,
)


README = (ROOT / "README.md").read_text()


def test_outputs_are_compared():
    assert agree("error 3e-16 of 1,000", "error 1e-15 of 1,000")
    assert not agree("error 3e-05", "error 1e-15")
    assert not agree("steps 12", "steps 13")
    assert not agree("iterations: 12", "steps: 12")


# What it shows is tested with smaller networks in `test_policy_train.py`.
LONG = {"train_policy"}
# JAX 0.10.0 has no primitive `stack`: these have another graph and another least count.
STACKED = {"quickstart"}
# What needs the extra `examples`, and the package by which it is there.
EXTRA = {"cutest": "sif2jax", "robot": "mujoco"}
_CHOSEN = re.compile(r"^ *chosen: .*$", re.MULTILINE)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow if path.stem in LONG else ())
        for path in EXAMPLES
    ],
    ids=lambda path: path.stem,
)
def test_example(path):
    """`python docs/tools/make.py` writes the outputs anew."""
    package = EXTRA.get(path.stem)
    if package is not None and not importlib.util.find_spec(package):
        pytest.skip("The extra `examples` is not installed.")
    printed = run_optimised(str(path))
    expected = (OUTPUT / f"{path.stem}.txt").read_text()
    if path.stem in STACKED and not hasattr(lax, "stack_p"):
        printed, expected = (_CHOSEN.sub("", text) for text in (printed, expected))
    assert agree(printed, expected), printed


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_stand_alone(path):
    """Each is a file that runs wherever it is copied to."""
    siblings = {example.stem for example in EXAMPLES}
    imported = re.findall(r"^(?:import|from) (\w+)", path.read_text(), re.MULTILINE)
    assert not siblings & {*imported} and not any(n.startswith("_") for n in imported)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_cells_have_names_of_their_own(path):
    """The pages show cells by name."""
    names = re.findall(r"^# %% (\w+)$", path.read_text(), re.MULTILINE)
    assert len(names) == len(set(names)) > 0


@pytest.mark.parametrize("page", tool("pages").PAGES, ids=lambda page: page.stem)
def test_pages_show_what_the_examples_are(page):
    """`python docs/tools/pages.py` fills the blocks and tables of the pages."""
    assert tool("pages").filled(page.read_text()) == page.read_text()


def test_every_example_is_shown():
    text = "".join(page.read_text() for page in PAGES)
    shown = {path for _, path, _, _ in tool("pages").FILLED.findall(text)}
    assert {f"examples/{path.name}" for path in EXAMPLES} <= shown


def test_readme_blocks():
    """They run as one script, and print what the README says that they print."""
    blocks = BLOCK.findall(README)
    assert len(blocks) > 0
    script = "\n".join(code for code, _ in blocks)
    assert run_optimised("-c", script) == "".join(output for _, output in blocks)


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
