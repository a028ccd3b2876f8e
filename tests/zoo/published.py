"""The published benchmark functions, at their canonical points."""

from benchmarks.cases.tasks import Task, TASKS

from ._case import Case


def _case(task: Task) -> Case:
    return Case(lambda: (task.by_argument, task.inputs))


CASES: dict[str, Case] = {name: _case(task) for name, task in TASKS.items()}
