"""Makes what the documentation shows: the outputs of the examples (`examples/output`),
the figures (`docs/figures`), and the blocks and tables of the pages.

    python docs/tools/make.py                   # everything
    python docs/tools/make.py kalman_filter     # what has to do with one example
    python docs/tools/make.py charts            # the charts of measurements

The figures need the extra `plot`.
"""

import os
import pathlib
import runpy
import subprocess
import sys


ROOT = pathlib.Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
OUTPUT = ROOT / "examples" / "output"
TOOLS = ROOT / "docs" / "tools"
FIGURES = ROOT / "docs" / "figures"


def run(*args: str, given: str | None = None, **variables: str) -> str:
    """What Python prints in a process of its own, in which every warning is an error;
    with paths as they are below the repository. It reads `given`."""
    fixed = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "EQX_CC_CACHE": "off"}
    command = [sys.executable, "-W", "error", *args]
    env = os.environ | fixed | variables
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, cwd=ROOT, input=given
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout.replace(f"{ROOT}{os.sep}", "")


def main() -> None:
    named = set(sys.argv[1:]) or {path.stem for path in EXAMPLES} | {"charts"}
    OUTPUT.mkdir(exist_ok=True)
    for example in EXAMPLES:
        if example.stem in named:
            (OUTPUT / f"{example.stem}.txt").write_text(run(str(example)))
    for name in sorted(named & set(runpy.run_path(str(TOOLS / "figures.py"))["DRAW"])):
        run(str(TOOLS / "figures.py"), name)
    if "charts" in named:
        run(str(TOOLS / "charts.py"))
    run(str(TOOLS / "pages.py"))


if __name__ == "__main__":
    main()
