"""Policies as orderings, and as the start of a search."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._graph.graph import ComputationalGraph
from .._orders.cost import AbstractCost, as_cost
from .._orders.orderings import AbstractOrdering
from .._orders.search.base import AbstractSearch
from .._orders.search.searches import Annealing
from ._game.game import EliminationGame, EliminationState, new_game, numbering, padded
from ._game.host import hosted_rollout
from ._game.play import rollout
from ._game.policy import AbstractPolicy
from ._search.beam import beam_rollout
from ._search.shorten import shortened
from ._search.tree import check_mctx, searched_rollout
from ._stored import existing, Folder, load


class HashablePolicy:
    """A policy that is compared by identity, and not a PyTree: static fields and the
    settings of a transform need a hash."""

    def __init__(self, policy: AbstractPolicy):
        self.policy = policy

    def __hash__(self) -> int:
        return id(self.policy)

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, HashablePolicy) and other.policy is self.policy

    def __repr__(self) -> str:
        return type(self.policy).__name__


def hashable(policy: AbstractPolicy | HashablePolicy | Folder) -> HashablePolicy:
    """The policy of a user's `policy` argument."""
    if isinstance(policy, HashablePolicy):
        return policy
    if isinstance(policy, AbstractPolicy):
        return HashablePolicy(policy)
    if isinstance(policy, str | os.PathLike):
        return HashablePolicy(_loaded(existing(policy)))
    hint = f": `{policy.__name__}(...)`" if isinstance(policy, type) else ""
    raise ValueError(
        "`policy` must be an `eqx_cc.policy.AbstractPolicy`, or the folder of one; got "
        f"a `{type(policy).__name__}`{hint}."
    )


def _loaded(folder: pathlib.Path) -> AbstractPolicy:
    """The policy of a folder: the same object until a file changes, as what is compiled
    for a policy is looked up by identity."""
    stats = [(path.name, path.stat()) for path in sorted(folder.glob("*.eqx"))]
    files = tuple((name, stat.st_mtime_ns, stat.st_ino) for name, stat in stats)
    return _load_once(folder.resolve(), files)


@lru_cache(maxsize=16)
def _load_once(folder: pathlib.Path, files: tuple[Any, ...]) -> AbstractPolicy:
    return load(folder)


class PolicyOrdering(AbstractOrdering):
    """Eliminates in the order that a policy chooses.

    A graph that has too many patterns for the game is played move by move, outside of
    JAX, once and without simulations.

    **Arguments:**

    - `policy`: an [`eqx_cc.policy.AbstractPolicy`][], or the folder of one, which
        [`eqx_cc.policy.load`][] reads.
    - `num_simulations`: eliminations that are tried before each move, by tree search;
        none by default. It needs the extra `policy`, as do the simulations of all
        orderings here.
    - `beam`: the number of games that are played side by side. After each move, those
        with the least expected cost are kept; the cheapest one is returned.
    - `cost`: the cost model, or its name.

    !!! Example

        ```python
        ordering = eqx_cc.policy.PolicyOrdering(eqx_cc.policy.pretrained())
        eqx_cc.filter_jacobian(fun, order=ordering)(x)
        ```
    """

    policy: HashablePolicy = eqx.field(converter=hashable, static=True)
    num_simulations: int = eqx.field(static=True, default=0)
    beam: int = eqx.field(static=True, default=1)
    cost: AbstractCost = eqx.field(converter=as_cost, default="multiplications")

    def __check_init__(self):
        if self.num_simulations < 0 or self.beam < 1:
            raise ValueError(
                "`num_simulations` must not be negative and `beam` at least 1; got "
                f"{self.num_simulations} and {self.beam}."
            )
        if self.num_simulations:
            check_mctx("num_simulations")

    def __call__(self, graph: ComputationalGraph) -> tuple[int, ...]:
        return _played(self, graph)


class PolicyAnnealing(AbstractSearch):
    """Simulated annealing that starts from the order of a policy.

    **Arguments:**

    - `policy`: as for [`eqx_cc.policy.PolicyOrdering`][].
    - `seconds`, `seed`, `cost`: as for [`eqx_cc.Annealing`][].
    - `num_simulations`, `beam`: as for [`eqx_cc.policy.PolicyOrdering`][].

    !!! Example

        ```python
        policy = eqx_cc.policy.Markowitz()
        eqx_cc.policy.PolicyAnnealing(policy, seconds=1)(graph)
        ```
    """

    # The base has `seconds`, `seed` and `cost` first: `policy` goes ahead of them here.
    seconds: float
    seed: int
    cost: AbstractCost
    policy: HashablePolicy = eqx.field(static=True)
    num_simulations: int = eqx.field(static=True)
    beam: int = eqx.field(static=True)

    def __init__(
        self,
        policy: AbstractPolicy | HashablePolicy | Folder,
        seconds: float = 10.0,
        seed: int = 0,
        cost: str | AbstractCost = "multiplications",
        num_simulations: int = 0,
        beam: int = 1,
    ):
        self.seconds, self.seed, self.cost = seconds, seed, as_cost(cost)
        self.policy = hashable(policy)
        self.num_simulations, self.beam = num_simulations, beam
        PolicyOrdering(self.policy, num_simulations, beam)  # Checks them.

    def _proposals(self, graph: ComputationalGraph) -> Iterable[tuple[int, ...]]:
        settings = self.num_simulations, self.beam, self.cost
        yield PolicyOrdering(self.policy, *settings)(graph)

    def _improve(self, part) -> None:
        Annealing(self.seconds, self.seed, self.cost)._improve(part)


@lru_cache(maxsize=256)
def _played(ordering: PolicyOrdering, graph: ComputationalGraph) -> tuple[int, ...]:
    short = shortened(graph, ordering.cost)
    # A trace may be under way, of which this is no part.
    with jax.ensure_compile_time_eval():
        moves = _moves(ordering, short.graph)
    names = numbering(short.graph)
    return *short.prefix, *(names[vertex] for vertex in moves)


def clear_cache() -> None:
    """Forgets the orders of earlier games."""
    _played.cache_clear()


def _moves(ordering: PolicyOrdering, graph: ComputationalGraph) -> list[int]:
    size = padded(graph)
    try:
        game = new_game(graph, ordering.cost, size=size)
    except ValueError:  # There are too many patterns.
        return hosted_rollout(ordering.policy.policy, graph, ordering.cost, size)
    return _play(ordering, *game)


def _play(
    ordering: PolicyOrdering, game: EliminationGame, state: EliminationState
) -> list[int]:
    """The moves of the cheapest game."""
    policy, simulations = ordering.policy.policy, ordering.num_simulations
    games = [_rollout(policy, game, state, None)]
    if simulations:
        games.append(_search(policy, game, state, simulations))
    if ordering.beam > 1:
        games.append(_beam(policy, game, state, ordering.beam))
    state, order = min(games, key=lambda game: float(game[0].total))
    return [int(vertex) for vertex in np.asarray(order) if vertex >= 0]


_rollout = eqx.filter_jit(rollout)
_beam = eqx.filter_jit(beam_rollout)
_search = eqx.filter_jit(searched_rollout)
