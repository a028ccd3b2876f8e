"""`python -m tests.hosts lineax --source PATH`: see `--help`."""

import argparse
import sys

from .compare import Choice, compare_all, counts, merged, report
from .suites import NoSources, sources, SUITES, VARIABLE


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.hosts",
        description="Runs a host's own tests with our parts in place and without, and "
        "fails if anything differs that is not known to.",
    )
    parser.add_argument("host", choices=sorted(SUITES))
    parser.add_argument("files", nargs="*", help="in place of those of the suite")
    parser.add_argument("--source", help=f"its checkout (or else {VARIABLE}/HOST)")
    parser.add_argument(
        "-k", dest="select", default="", help="which tests, as pytest takes it"
    )
    parser.add_argument("--every", type=int, default=1, help="one test in so many")
    parser.add_argument("--seconds", type=float, help="the time for each file")
    parser.add_argument(
        "--thrifty",
        action="store_true",
        help="run those tests alone without our parts that fail with them",
    )
    given = parser.parse_args()
    try:
        source = sources(given.host, given.source)
    except NoSources as error:
        print(error, file=sys.stderr)
        return 2
    choice = Choice(given.select, given.every, given.seconds, given.thrifty)
    comparisons = []
    for file, comparison in compare_all(given.host, source, given.files, choice):
        print(f"{file}\n{report(comparison)}\n", flush=True)
        comparisons.append(comparison)
    comparison = merged(comparisons)
    print(f"{given.host}\n{counts(comparison)}")
    return int(bool(comparison.unexpected) or not comparison.num_used)


if __name__ == "__main__":
    sys.exit(main())
