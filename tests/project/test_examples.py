"""Every example, and every block of Python in the README, in a process of its own: with
JAX as a user has it, not as `conftest.py` sets it."""

import re

import pytest
from jax import lax
from tests.printed import (
    agree,
    BLOCK,
    EXAMPLES,
    FIGURES,
    OUTPUT,
    PAGES,
    ROOT,
    run,
    run_optimised,
)


README = (ROOT / "README.md").read_text()

# A file, and a section or the first and the last line.
_SHOWN = re.compile(r'^--8<-- "([^\s:"]+)(?::([a-z]\w*)|(?::\d+){2})?"$', re.MULTILINE)


def test_outputs_are_compared():
    assert agree("error 3e-16 of 1,000", "error 1e-15 of 1,000")
    assert not agree("error 3e-05", "error 1e-15")
    assert not agree("steps 12", "steps 13")
    assert not agree("iterations: 12", "steps: 12")


# What it shows is tested with smaller networks in `test_policy_train.py`.
LONG = {"train_policy"}
# JAX 0.10.0 has no primitive `stack`: these have another graph and another least count.
STACKED = {"quickstart"}
_CHOSEN = re.compile(r"^ *chosen: .*$", re.MULTILINE)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=pytest.mark.slow if path.stem in LONG else ())
        for path in EXAMPLES
    ],
    ids=lambda path: path.stem,
)
def test_example(path, tmp_path):
    """`python examples/_make.py` writes the outputs and the figures anew."""
    printed = run_optimised(str(path), EQX_CC_FIGURES=str(tmp_path))
    expected = (OUTPUT / f"{path.stem}.txt").read_text()
    if path.stem in STACKED and not hasattr(lax, "stack_p"):
        printed, expected = (_CHOSEN.sub("", text) for text in (printed, expected))
    assert agree(printed, expected), printed
    for figure in tmp_path.iterdir():
        assert (FIGURES / figure.name).exists()


def test_an_example_without_matplotlib():
    """Figures are for the documentation alone."""
    hidden = "import sys; sys.modules['matplotlib'] = None; "
    found = "sys.path.insert(0, 'examples'); import kalman_filter"
    assert run("-c", hidden + found) != ""


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
