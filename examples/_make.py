"""Runs the examples, for the documentation: what they print goes to `examples/output`,
and what they draw to `docs/figures`.

    python examples/_make.py [name ...]
"""

import os
import pathlib
import subprocess
import sys


ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("[!_]*.py"))
OUTPUT = ROOT / "examples" / "output"
FIGURES = ROOT / "docs" / "figures"


def run(*args: str, **variables: str) -> str:
    """What Python prints in a process of its own, in which every warning is an error;
    with paths as they are below the repository."""
    own = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "EQX_CC_CACHE": "off"}
    command = [sys.executable, "-W", "error", *args]
    env = os.environ | own | variables
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout.replace(f"{ROOT}{os.sep}", "")


if __name__ == "__main__":
    OUTPUT.mkdir(exist_ok=True)
    for example in EXAMPLES:
        if example.stem in sys.argv[1:] or len(sys.argv) == 1:
            printed = run(str(example), EQX_CC_FIGURES=str(FIGURES))
            (OUTPUT / f"{example.stem}.txt").write_text(printed)
