"""The arrows of the house, read from the imports of `eqx_cc`. CONTRIBUTING.md says why
they point as they do; this table says how."""

import ast
import importlib
import inspect
import itertools as it
import pathlib
import re
import sys
import tomllib
from graphlib import TopologicalSorter

import pytest


ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "eqx_cc"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room is a module of `eqx_cc`, or a folder of them. With each stand the rooms that it
# rests on: it may import those, and whatever they may import.
SYMBOLIC = {
    "_affine": "",
    "_keyed": "",
    "_term": "_affine _keyed",
    "_group": "_term",
    "_combine": "_group",
    "_product": "_term",
    "_pattern": "_combine _product",
    "_graph": "_pattern",
    "_plan": "_graph",
    "_factor": "_plan",
    "_cost": "_graph",
    "_effort": "",
    "_space": "_cost _effort",
    "_greedy": "_space",
    "_ordering": "_greedy",
    "_order": "",
    "_interrupt": "",
    "_search": "_interrupt _order _ordering",
    "_cache": "_search",
    "_automatic": "_cache",
    "_winners": "_cache",
    "_timing": "",
    "_progress": "_search",
}
NUMERIC = {
    "_source": "",
    "_varying": "",
    "_aside": "",
    "_held": "",
    "_program": "_held _source _varying",
    "_arrays": "_term",
    "_multiply": "_arrays _product",
    "_place": "_arrays _group",
    "_numeric": "_multiply _pattern _place",
    "_coordinates": "_term",
    "_partial": "_coordinates _numeric",
    "_accumulate": "_plan _numeric",
    "_builder": "_graph _numeric",
    "_rules": "_program _numeric",
    "_linear": "_ordering _accumulate _builder _rules",
    "_template": "_linear",
    "_body": "_combine _rules",
    "_loop": "_body",
    "_scan": "_loop",
    "_control_flow": "_scan",
    "_pass": "_body _partial",
    "_storage": "_arrays _plan _program",
    "_linearise": "_storage _factor _template _control_flow _pass",
    "_native": "_aside _program",
    "_scalarise": "_native",
    "_work": "_rules",
    "_sweep": "_rules",
    "_traced": "_sweep",
    "_fingerprint": "_program",
    "_measure": "_arrays _aside _timing _work",
    "_scalars": "_linearise _scalarise _native",
}
MEETING = {
    "_granularity": "_ordering _scalarise _traced",
    "_methods": "_granularity _partial _scalars",
    "_autotune": "_automatic _fingerprint _measure _methods _winners",
    "_select": "_autotune",
    "_eager": "_methods",
    "_eliminate": "_eager _select",
    "_transforms": "_eliminate",
    "_jacobian": "_transforms _automatic",
    "_plot": "_plan",
    "_explain": "_transforms _automatic _plot",
    "_optimise": "_explain _progress",
    "_referees": "",
    "_report": "_referees",
    "_check": "_transforms _report _automatic",
    "_solve": "_transforms _automatic _native",
}
# Learned orders. Nothing else in the house may rest on it.
LEARNED = {"policy": "_search _explain"}
HOUSE = SYMBOLIC | NUMERIC | MEETING | LEARNED

# Structure needs the standard library alone. `AbstractOrdering` and `AbstractCost` are
# modules of Equinox, as every class that users may derive from is.
PACKAGES = dict.fromkeys(SYMBOLIC, "")
PACKAGES |= dict.fromkeys(("_ordering", "_cost"), "equinox")
PACKAGES |= {"_search": "equinox"}
OPTIONAL = {"_plot": "matplotlib"}
EXTRA = {"matplotlib", "mctx", "optax"}  # Imported where they are needed alone.
PACKAGES |= dict.fromkeys(NUMERIC | MEETING, "equinox jax jaxtyping numpy")
PACKAGES |= {"_solve": "equinox jax jaxtyping lineax numpy optimistix scipy"}
PACKAGES |= {"policy": "equinox jax jaxtyping numpy mctx optax matplotlib"}
PACKAGES |= OPTIONAL

MAX_LINES = 400


def _room(file: pathlib.Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _module(file: pathlib.Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


def _imports(file: pathlib.Path) -> set[str]:
    """Every module that a file imports, wherever in the file it does, in full."""
    package = _module(file).split(".")
    if file.name != "__init__.py":
        package.pop()
    modules = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join(above + (node.module.split(".") if node.module else []))
            names = {f"{module}.{alias.name}" for alias in node.names}
            submodules = names & MODULES.keys()
            modules |= submodules
            if len(submodules) < len(names):
                modules.add(module)
    return modules


MODULES = {_module(file): file for file in FILES}
IMPORTS = {module: _imports(file) for module, file in MODULES.items()}
ROOMS = [file for file in FILES if file != PACKAGE / "__init__.py"]


def _below(room: str) -> set[str]:
    """The rooms that `room` rests on, and those that they rest on."""
    rests_on = HOUSE[room].split()
    return set(rests_on).union(*map(_below, rests_on))


def _name(file: pathlib.Path) -> str:
    return str(file.relative_to(PACKAGE))


def test_every_room_is_in_the_table():
    assert {_room(file) for file in ROOMS} == set(HOUSE)


@pytest.mark.parametrize("file", ROOMS, ids=_name)
def test_imports_only_what_the_table_allows(file):
    room, imports = _room(file), IMPORTS[_module(file)]
    ours = {module for module in imports if module.split(".")[0] == "eqx_cc"}
    assert "eqx_cc" not in ours  # Which is to import everything.
    assert {module.split(".")[1] for module in ours} <= _below(room) | {room}
    packages = {module.split(".")[0] for module in imports - ours}
    assert packages - sys.stdlib_module_names <= set(PACKAGES[room].split())


def test_the_table_has_no_cycle():
    TopologicalSorter(
        {room: rests_on.split() for room, rests_on in HOUSE.items()}
    ).prepare()


def test_modules_have_no_import_cycle():
    ours = {module: imports & MODULES.keys() for module, imports in IMPORTS.items()}
    TopologicalSorter(ours).prepare()


@pytest.mark.parametrize("room", SYMBOLIC)
def test_symbolic_rooms_know_nothing_of_numbers(room):
    assert _below(room) <= set(SYMBOLIC)
    assert "jax" not in PACKAGES[room].split()


@pytest.mark.parametrize("room", NUMERIC)
def test_numeric_rooms_know_nothing_of_transforms(room):
    assert _below(room) <= set(SYMBOLIC | NUMERIC)


def test_patterns_need_only_the_standard_library():
    assert all(PACKAGES[room] == "" for room in {"_pattern"} | _below("_pattern"))


def test_core_does_not_import_policy():
    assert "policy" not in set().union(*map(_below, set(HOUSE) - {"policy"}))


def test_dependencies_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=!~ ;\[]", d)[0] for d in project["dependencies"]}
    used = {m.split(".")[0] for m in it.chain(*IMPORTS.values())}
    own = {"eqx_cc"} | EXTRA
    assert used - sys.stdlib_module_names - own == declared
    extras = set().union(*project["optional-dependencies"].values())
    assert EXTRA <= {re.split(r"[<>=!~ ;\[]", d)[0] for d in extras}


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
