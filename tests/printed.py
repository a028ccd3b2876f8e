"""What examples and blocks of code print, and how that is compared."""

import importlib.util
import math
import pathlib
import re
import types

from tests.compiled import as_users_have_it


ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))

# A block of code, and the block of what it prints if one follows.
BLOCK = re.compile(
    r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d*)?(?:e[-+]?\d+)?")


def tool(name: str) -> types.ModuleType:
    """A script of `docs/tools`, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"docs/tools/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_MAKE = tool("make")
EXAMPLES, OUTPUT, run = _MAKE.EXAMPLES, _MAKE.OUTPUT, _MAKE.run


def run_optimised(*args: str, given: str | None = None, **variables: str) -> str:
    """As `run`, compiled as users have it."""
    return run(*args, given=given, **as_users_have_it(), **variables)


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
