"""The published tasks: graphs of scalars, with the counts that are known of them."""

from __future__ import annotations

import json
import pathlib
from functools import cache
from typing import NamedTuple

from .._graph.graph import ComputationalGraph


_FOLDER = pathlib.Path(__file__).parent / "_graphs"
TASK_NAMES = tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


class Task(NamedTuple):
    """A published graph.

    Counts are multiplications of the published convention (cost model `"published"`).

    **Attributes:**

    - `name`, `about`: the name, and a description.
    - `graph`: an [`eqx_cc.ComputationalGraph`][] of scalars.
    - `alphazero`, `ppo`: the least counts that these agents were published to find, or
        `None` where none was published for this graph.
    - `best_known`: the least count that is known.

    !!! Example

        ```python
        arm = eqx_cc.policy.task("RobotArm_6DOF")
        print(arm.graph, arm.alphazero, arm.best_known)
        ```

    ??? cite "Reference"

        J. Lohoff and E. Neftci, *Optimizing Automatic Differentiation with Deep
        Reinforcement Learning*, Advances in Neural Information Processing Systems 37,
        2024.
    """

    name: str
    about: str
    graph: ComputationalGraph
    alphazero: int | None
    ppo: int | None
    best_known: int


@cache
def task(name: str) -> Task:
    """A published task.

    **Arguments:**

    - `name`: `"BlackScholes_Jacobian"`, `"HumanHeartDipole"`, `"PropaneCombustion"`,
        `"RobotArm_6DOF"`, `"RoeFlux_1d"` or `"random_g"`. Raises a `ValueError` for any
        other.

    **Returns:** an [`eqx_cc.policy.Task`][].

    !!! Example

        ```python
        graph = eqx_cc.policy.task("PropaneCombustion").graph
        eqx_cc.policy.PolicyOrdering(eqx_cc.policy.RulePolicy())(graph)
        ```
    """
    if name not in TASK_NAMES:
        known = ", ".join(map(repr, TASK_NAMES))
        raise ValueError(f"`name` must be one of {known}; got {name!r}.")
    stored = json.loads((_FOLDER / f"{name}.json").read_text())
    counts = stored["multiplications"]
    graph = ComputationalGraph.from_edges(
        stored["num_vertices"],
        stored["independents"],
        stored["dependents"],
        map(tuple, stored["edges"]),
    )
    published = counts.get("alphazero_published_best"), counts.get("ppo_published_best")
    return Task(name, stored["about"], graph, *published, counts["best_known"])
