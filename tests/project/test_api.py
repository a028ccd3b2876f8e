"""A snapshot of the public names and their signatures: a change of it is a decision.

    EQX_CC_SNAPSHOT=1 python -m pytest tests/project/test_api.py

writes it anew.
"""

import inspect
import os
import pathlib
import re

import eqx_cc
import eqx_cc.policy


SNAPSHOT = pathlib.Path(__file__).with_name("api.txt")


def _signature(value) -> str:
    """Arguments with their defaults; types are a matter of the documentation."""
    parameters = inspect.signature(value).parameters.values()
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    text = str(inspect.Signature(bare))
    return re.sub(r" at 0x[0-9a-f]+|<factory>", "", text)


def _members(cls: type) -> list[str]:
    lines = []
    for name, member in sorted(vars(cls).items()):
        if name.startswith("_") and name not in ("__call__", "__matmul__"):
            continue
        if isinstance(member, property):
            lines.append(f"    {name}")
        elif callable(getattr(cls, name)):
            lines.append(f"    {name}{_signature(getattr(cls, name))}")
    return lines


def _described(module) -> list[str]:
    lines = []
    for name, value in sorted(vars(module).items()):
        if name.startswith("_") or inspect.ismodule(value):
            continue
        where = f"{module.__name__}.{name}"
        if inspect.isclass(value):
            lines.append(f"class {where}{_signature(value)}")
            lines += _members(value)
        else:
            lines.append(where + (_signature(value) if callable(value) else ""))
    return lines


def test_public_names_and_signatures():
    text = "\n".join([*_described(eqx_cc), *_described(eqx_cc.policy)]) + "\n"
    if os.environ.get("EQX_CC_SNAPSHOT"):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text()
