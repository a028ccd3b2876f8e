"""What the files of `eqx_cc` may say, and how much.

Which may import which is said by the contracts in `pyproject.toml` (`lint-imports`).
"""

import ast
import importlib
import inspect
import pathlib
import re
import sys
import tomllib

import pytest


ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "eqx_cc"
FILES = sorted(PACKAGE.rglob("*.py"))
FOLDERS = sorted({file.parent for file in FILES})
# Packages of extras, by what is imported of them, only where it is needed.
EXTRA = {"klujax": "splineax-klujax", "matplotlib": "matplotlib", "mctx": "mctx"}
EXTRA |= {"mujoco": "mujoco-mjx", "sif2jax": "sif2jax"}
# What examples import, so that one command installs all that they need.
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

MAX_LINES = 400
MAX_FILES = 11  # In a folder.


def _name(file: pathlib.Path) -> str:
    return str(file.relative_to(PACKAGE))


def _packages(file: pathlib.Path) -> set[str]:
    """Every package that a file imports, wherever in the file it does."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    modules = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    froms = [n for n in nodes if isinstance(n, ast.ImportFrom) and not n.level]
    modules += [n.module for n in froms if n.module is not None]
    return {module.split(".")[0] for module in modules}


def test_the_package_is_seen_at_a_glance():
    visible = [p for p in PACKAGE.iterdir() if p.name != "__pycache__"]
    assert len(visible) <= 14


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_folders_are_small_and_say_what_they_are(folder):
    assert len([p for p in folder.iterdir() if p.suffix == ".py"]) <= MAX_FILES + 1
    doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    assert doc is not None
    if folder.name.startswith("_") and folder.parent == PACKAGE:
        assert "Imports" in doc and "- In:" in doc


def test_dependencies_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=!~ ;\[]", d)[0] for d in project["dependencies"]}
    own = {"eqx_cc"} | EXTRA.keys() | sys.stdlib_module_names
    used = set().union(*map(_packages, [*FILES, *EXAMPLES])) - own
    assert used == declared
    extras = set().union(*project["optional-dependencies"].values())
    packages = {re.split(r"[<>=!~ ;\[]", d)[0] for d in extras}
    assert packages >= set(EXTRA.values())


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert importlib.import_module("eqx_cc").__version__ == project["version"]


#
# What is said, and how much of it
#


def _public_names() -> list[str]:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return [alias.asname or alias.name for node in imports for alias in node.names]


def test_init_only_re_exports():
    first, *rest = ast.parse((PACKAGE / "__init__.py").read_text()).body
    assert isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    for node in rest:
        if isinstance(node, ast.Assign):
            assert ast.unparse(node.targets[0]) in ("__version__", "__all__")
        else:
            assert isinstance(node, ast.ImportFrom) and node.level == 1


def _has_words(name: str, thing) -> bool:
    doc = inspect.getdoc(thing) or ""
    # What a dataclass makes up when it has none.
    return doc != "" and not doc.startswith(f"{name}(")


def _public_members(thing) -> dict:
    if not inspect.isclass(thing):
        return {}
    kinds = property, classmethod, staticmethod
    names = [k for k, v in vars(thing).items() if isinstance(v, kinds) or callable(v)]
    # `getattr`, so that a method may inherit the words of the one that it overrides.
    return {k: getattr(thing, k) for k in names if not k.startswith("_")}


@pytest.mark.parametrize("name", _public_names())
def test_public_names_are_documented(name):
    thing = getattr(importlib.import_module("eqx_cc"), name)
    everything = {name: thing} | _public_members(thing)
    assert [
        key for key, value in everything.items() if not _has_words(key, value)
    ] == []


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_files_are_short_and_silent(file):
    text = file.read_text()
    assert len(text.splitlines()) < MAX_LINES
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    assert not any(ast.unparse(call.func) == "print" for call in calls)
