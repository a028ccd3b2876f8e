"""Learned elimination orders: the elimination game, and policies that play it.

- In: computational graphs. Out: orders, by `PolicyOrdering`, and trained policies.
- `_game` is the game as pure functions over arrays, `_search` looks ahead in it,
  `_training` has the agents, and `_command` is the command line.
- Imports `_api`, `_orders`, `_graph` and `_sparsity`; nothing imports it.
"""

from ._game.game import (
    EliminationGame as EliminationGame,
    EliminationState as EliminationState,
    new_game as new_game,
    new_games as new_games,
    numbering as numbering,
    step as step,
)
from ._game.play import rollout as rollout
from ._game.policy import AbstractPolicy as AbstractPolicy, Markowitz as Markowitz
from ._networks import EdgeTransformer as EdgeTransformer, GraphPolicy as GraphPolicy
from ._ordering import (
    PolicyAnnealing as PolicyAnnealing,
    PolicyOrdering as PolicyOrdering,
)
from ._pretrained import pretrained as pretrained
from ._rule import RulePolicy as RulePolicy
from ._stored import load as load
from ._task import Task as Task, task as task
from ._training.agent import AbstractAgent as AbstractAgent
from ._training.alphazero import AlphaZero as AlphaZero
from ._training.checkpoint import resume as resume, save as save
from ._training.evolution import (
    Evolution as Evolution,
    evolve as evolve,
    start_evolution as start_evolution,
)
from ._training.imitation import imitate as imitate, Imitation as Imitation
from ._training.ppo import PPO as PPO
from ._training.random_functions import random_function as random_function
from ._training.random_graphs import held_out as held_out, random_graph as random_graph
from ._training.train import (
    evaluate as evaluate,
    Settings as Settings,
    start as start,
    train as train,
    Training as Training,
)
