"""The published benchmark functions, written from their mathematics."""

from . import (
    black_scholes,
    classics,
    minpack,
    networks,
    random_functions,
    robot_arm,
    roe,
)
from ._task import Task as Task


TASKS: dict[str, Task] = (
    roe.TASKS
    | robot_arm.TASKS
    | minpack.TASKS
    | black_scholes.TASKS
    | networks.TASKS
    | classics.TASKS
    | random_functions.TASKS
)
