"""Equality by a key, with its hash kept."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property


class Keyed:
    """Objects of a class are equal if their keys are; the hash is computed once.

    For what is looked up thousands of times while an order is being made.
    """

    @property
    def _key(self) -> Hashable:
        raise NotImplementedError

    @cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return type(self) is type(other) and self._key == other._key  # pyright: ignore
