"""What agents reach on one published graph in equal seconds, with each policy."""

import math
import time
from collections.abc import Iterator
from typing import Any

import jax.random as jr
from eqx_cc import RuleWeights
from eqx_cc.policy import (
    AlphaZero,
    Evolution,
    evolve,
    GraphPolicy,
    imitate,
    Imitation,
    PPO,
    RulePolicy,
    Settings,
    start,
    start_evolution,
    Task,
    task,
    train,
)
from eqx_cc.policy._command.counts import policy_costs


Row = dict[str, Any]
AGENTS = "evolution", "PPO", "AlphaZero", "imitation"
POLICIES = "rule", "network"


def measure_agents(names: list[str], seconds: float) -> Iterator[Row]:
    """Rows of the least count of a game of training, and of the game of the policy
    after it, for each graph and agent.

    All begin as the Markowitz rule. Compilation counts, as users wait for it. Games of
    imitation are annealed, and say nothing of the policy.
    """
    for name in names:
        for agent in AGENTS:
            for policy in POLICIES:
                if (agent, policy) != ("evolution", "network"):
                    yield _row(task(name), agent, policy, seconds)


def _row(chosen: Task, agent: str, policy: str, seconds: float) -> Row:
    started, least, iterations = time.monotonic(), math.inf, 0
    settings = Settings(batch=16, graphs=(chosen.graph,))
    trained, gone = None, 0.0
    for training, metrics in _training(agent, policy, settings):
        least, iterations = min(least, metrics.least), iterations + 1
        trained, gone = training.policy, time.monotonic() - started
        if gone > seconds:
            break
    assert trained is not None
    [greedy] = policy_costs(trained, (chosen.graph,), settings.cost)
    row = {"part": "agents", "group": f"{policy} by {agent}", "name": chosen.name}
    row |= {"contestant": f"{seconds:g} s", "cost": int(greedy), "seconds": gone}
    best = None if agent == "imitation" else int(least)
    return row | {"best": best, "iterations": iterations}


def _training(agent: str, policy: str, settings: Settings) -> Iterator[Any]:
    rule = RulePolicy(RuleWeights())
    if agent == "evolution":
        return evolve(Evolution(), start_evolution(rule), settings)
    network = GraphPolicy(32, 3, key=jr.key(0))
    training = start(rule if policy == "rule" else network, settings)
    if agent == "imitation":
        return imitate(Imitation(), training, settings)
    return train(PPO() if agent == "PPO" else AlphaZero(), training, settings)
