"""A plugin of pytest for the process that runs a host's tests: puts our parts in place
and writes what became of each test."""

import json
import zlib


def pytest_addoption(parser):
    group = parser.getgroup("hosts")
    group.addoption("--parts", help="the host whose parts are replaced")
    group.addoption("--outcomes", help="the file to which outcomes are written")
    group.addoption("--every", type=int, default=1, help="one test in so many")


def pytest_configure(config):
    name = config.getoption("--parts")
    uses = None
    if name:
        from . import parts

        parts.PARTS[name]()
        uses = parts.Uses
    config.pluginmanager.register(_Recorder(config.getoption("--outcomes"), uses))


def pytest_collection_modifyitems(config, items):
    """Leaves one test in so many, by its name."""
    every = config.getoption("--every")
    items[:] = [x for x in items if zlib.crc32(x.nodeid.encode()) % every == 0]


class _Recorder:
    """Writes a line for every test, as a process may not come to its end."""

    def __init__(self, path: str, uses):
        self.path, self.uses, self.before = path, uses, 0

    def pytest_collection_finish(self, session):
        for item in session.items:
            self._write(item.nodeid, "not run", "the process ended before")

    def pytest_collectreport(self, report):
        if report.failed:
            self._write(report.nodeid, "failed", _reason(report))

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            self._write(report.nodeid, report.outcome, _reason(report))

    def _write(self, nodeid: str, outcome: str, reason: str) -> None:
        count = 0 if self.uses is None else self.uses.count
        uses, self.before = count - self.before, count
        with open(self.path, "a") as file:
            print(json.dumps([nodeid, outcome, reason, uses]), file=file)


def _reason(report) -> str:
    """The message of the exception that ended a test."""
    if report.passed:
        return ""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = str(report.longrepr) if crash is None else crash.message
    return " ".join(text.split())[-300:]
