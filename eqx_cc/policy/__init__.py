"""Learned elimination orders: the elimination game, and policies that play it."""

from ._game import (
    EliminationGame as EliminationGame,
    EliminationState as EliminationState,
    new_game as new_game,
    new_games as new_games,
    numbering as numbering,
    step as step,
)
from ._generate import held_out as held_out, random_graph as random_graph
from ._networks import EdgeTransformer as EdgeTransformer, GraphPolicy as GraphPolicy
from ._ordering import (
    PolicyAnnealing as PolicyAnnealing,
    PolicyOrdering as PolicyOrdering,
)
from ._play import rollout as rollout
from ._policy import AbstractPolicy as AbstractPolicy, Markowitz as Markowitz
