"""The published functions of `benchmarks.cases.tasks`.

Those of scalars take and return vectors here, as they do where they are used inside a
loop (in a solver, a filter, a simulation), which is also the form that is fastest for
`jax.jacfwd` and `jax.jacrev`. The group "arguments" has them as they are: one scalar
array for each input and each output, so that the Jacobian is as many arrays as it has
entries. Arrays stay as they are in both.
"""

import jax
import jax.numpy as jnp
import numpy as np

from ._case import Case, SETTINGS
from .tasks import Task, TASKS


def _is_scalar(task: Task) -> bool:
    return all(np.ndim(x) == 0 for x in task.point)


def _of_vector(task: Task):
    """The function from the vector of the scalar inputs to that of the outputs."""

    def fun(x):
        out = task.by_argument(tuple(x))
        scalars = all(jnp.ndim(leaf) == 0 for leaf in jax.tree.leaves(out))
        return jnp.stack(jax.tree.leaves(out)) if scalars else out

    return fun


def _point(task: Task):
    return tuple(np.asarray(task.point[i], np.float64) for i in task.argnums)


def _case(name: str, task: Task) -> Case:
    if _is_scalar(task):
        return Case(name, "scalar tasks", _of_vector(task), np.stack(_point(task)))
    # The tangents of a large batch by so many inputs take gigabytes.
    small = sum(np.size(x) for x in _point(task)) <= 100
    settings = SETTINGS if small else SETTINGS[:3]
    return Case(name, "array tasks", task.by_argument, _point(task), settings)


CASES = [_case(name, task) for name, task in TASKS.items()]
CASES += [
    Case(f"{name}, arguments", "arguments", task.by_argument, _point(task))
    for name, task in TASKS.items()
    if _is_scalar(task)
]
