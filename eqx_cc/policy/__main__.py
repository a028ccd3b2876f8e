"""`python -m eqx_cc.policy train` and `python -m eqx_cc.policy evaluate`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ._command.evaluation import evaluation, run_evaluation
from ._command.options import parsers
from ._command.setup import job
from ._command.training import run_training


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says. Returns the exit code; options that are wrong
    exit with 2, and a line that says what to do."""
    parser, commands = parsers()
    args = parser.parse_args(arguments)
    prepare, run = _COMMANDS[args.command]
    try:
        try:
            prepared = prepare(args)
        except (ImportError, OSError, ValueError) as error:
            commands[args.command].error(str(error))
        return run(prepared)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted: nothing was written.\n")
        return 130


_COMMANDS = {
    "train": (job, run_training),
    "evaluate": (evaluation, run_evaluation),
}


if __name__ == "__main__":
    sys.exit(main())
