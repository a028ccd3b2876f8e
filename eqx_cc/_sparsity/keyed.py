"""Equality and hash of static objects, by some of their attributes."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TypeVar


T = TypeVar("T")


def keyed(*names: str) -> Callable[[type[T]], type[T]]:
    """Makes objects of a class equal if the attributes `names` are.

    The hash is computed once: patterns are looked up thousands of times in a search.
    """
    key = attrgetter(*names)

    def decorate(cls: type[T]) -> type[T]:
        def __hash__(self) -> int:
            if "_hash" not in self.__dict__:
                self.__dict__["_hash"] = hash(key(self))
            return self.__dict__["_hash"]

        def __eq__(self, other: object) -> bool:
            if self is other:
                return True
            return type(self) is type(other) and key(self) == key(other)

        cls.__hash__, cls.__eq__ = __hash__, __eq__
        return cls

    return decorate
