"""The published benchmark functions, at their canonical points."""

from benchmarks.tasks import Task, TASKS

from ._case import Case


def _case(task: Task) -> Case:
    def build():
        args = task.args

        def fun(chosen):
            replaced = dict(enumerate(args)) | dict(zip(task.argnums, chosen))
            return task.fun(*replaced.values())

        return fun, tuple(args[i] for i in task.argnums)

    return Case(build)


CASES: dict[str, Case] = {name: _case(task) for name, task in TASKS.items()}
