"""Every example, and every block of Python in the README, in a process of its own: with
JAX as a user has it, not as `conftest.py` sets it."""

import os
import pathlib
import re
import subprocess
import sys

import pytest


ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
README = (ROOT / "README.md").read_text()

# A block of code, and the block of what it prints if one follows.
_BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)


def _run(*args: str) -> str:
    env = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", *args]
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example(path):
    assert _run(str(path)) != ""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_sections_are_closed(path):
    """The documentation pulls sections in by name: one left open pulls in the rest."""
    markers = re.findall(r"# --8<-- \[(start|end):(\w+)\]", path.read_text())
    starts, ends = markers[::2], markers[1::2]
    assert [("end", name) for _, name in starts] == ends


def test_pages_show_sections_that_are_there():
    text = "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    shown = re.findall(r'^--8<-- "(\S+):(\w+)"$', text, re.M)
    assert len(shown) > 0 and len(shown) == len(re.findall(r"8 ?< ?-", text))
    for path, section in shown:
        assert f"# --8<-- [start:{section}]" in (ROOT / path).read_text()


def test_readme_blocks():
    """They run as one script, and print what the README says that they print."""
    blocks = _BLOCK.findall(README)
    assert len(blocks) > 0
    script = "\n".join(code for code, _ in blocks)
    assert _run("-c", script) == "".join(output for _, output in blocks)


@pytest.mark.parametrize("command", re.findall(r"^python .*$", README, re.M))
def test_readme_commands_name_what_is_there(command):
    paths = re.findall(r"\S+\.(?:py|md|toml)\b", command)
    assert all((ROOT / path).exists() for path in paths)
