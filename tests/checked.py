"""Types checked at every call, by beartype alone where there are no shapes to check.

jaxtyping binds the arguments of every call to compare shapes, and has them checked
twice. Where code is symbolic, of many short calls, that took most of the time; and
modules that do not import jaxtyping have no shapes in their annotations.
"""

import ast
import dataclasses
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from typing import Any

from beartype import beartype


def install(package: str) -> None:
    """Has what is imported of `package` from now on checked by beartype, those modules
    excepted that import jaxtyping."""
    sys.meta_path.insert(0, _Finder(package))


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, package: str):
        self.package = package

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: Any = None):
        if fullname.partition(".")[0] != self.package:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        loader = spec.loader if spec is not None else None
        if spec is None or not isinstance(loader, importlib.machinery.SourceFileLoader):
            return None
        if b"jaxtyping" in loader.get_data(loader.path):
            return None
        spec.loader = _Loader(loader.name, loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """Bytecode is neither read nor written: it is not what others have."""

    def get_code(self, fullname: str):
        tree = _Decorated().visit(ast.parse(self.get_data(self.path)))
        ast.fix_missing_locations(tree)
        return compile(tree, self.path, "exec", dont_inherit=True)

    def exec_module(self, module):
        own = {"__checked_function__": beartype, "__checked_class__": _checked_class}
        vars(module).update(own)
        super().exec_module(module)


class _Decorated(ast.NodeTransformer):
    """Functions innermost, so that other decorators find what they expect; classes
    outermost, when they have become dataclasses."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        own = node.args
        each = [*own.posonlyargs, *own.args, *own.kwonlyargs, own.vararg, own.kwarg]
        hints = [node.returns, *(arg.annotation for arg in each if arg is not None)]
        if any(hint is not None for hint in hints):
            node.decorator_list.append(ast.Name("__checked_function__", ast.Load()))
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.decorator_list.insert(0, ast.Name("__checked_class__", ast.Load()))
        return node


def _checked_class(cls: type) -> type:
    """A dataclass, whose `__init__` was not written by hand, checks its fields."""
    if dataclasses.is_dataclass(cls) and "__init__" in vars(cls):
        cls.__init__ = beartype(vars(cls)["__init__"])
    return cls
