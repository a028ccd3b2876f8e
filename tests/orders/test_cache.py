"""The cache of orders: look-ups, damaged files, and concurrent writers.

Nothing that a file says can change a Jacobian, nor stop one from being computed.
"""

import itertools as it
import json
import os
import pathlib
import random
import subprocess
import sys
import warnings
from dataclasses import replace
from typing import Any

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from eqx_cc import ComputationalGraph, Order, OrderCache
from eqx_cc._orders import cache as _cache, store as _store
from eqx_cc._orders.baseline import order_cost


ROOT = pathlib.Path(__file__).parents[2]

EDGES = [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3), (2, 4), (3, 4)]
EDGES += [(3, 5), (4, 5), (4, 6), (5, 6), (5, 7), (2, 7), (4, 8)]


def _graph(edges=EDGES):
    return ComputationalGraph.from_edges(9, [0, 1], [6, 7, 8], edges)


def _order(graph, vertices, model: Any = eqx_cc.Multiplications(), **attributes):
    attributes = {"found_by": "test", **attributes}
    cost = order_cost(graph, vertices, model)
    return Order(vertices, cost=cost, cost_model=model.name, **attributes)


GRAPH = _graph()
# Of every cost, from the best to the worst.
ORDERS = sorted(
    (_order(GRAPH, v) for v in it.permutations(GRAPH.intermediates)),
    key=lambda order: order.cost,
)
BEST, GOOD, WORST = ORDERS[0], ORDERS[12], ORDERS[-1]
assert BEST.cost < GOOD.cost < WORST.cost


class Pairs(eqx_cc.AbstractCost):
    """A model of a user's: every pair of edges costs the same."""

    each: int = 1

    def __call__(self, old, left, right):
        return self.each

    @property
    def name(self):
        return "pairs"


def _place(folder, graph=GRAPH, model="multiplications"):
    """The folder of the orders of a graph."""
    place = OrderCache(folder)._store.path(_cache.entry_key(graph, model))
    assert place is not None
    return place


def _stored(folder, order=GOOD):
    """The only file of a folder that an order has been put in."""
    OrderCache(folder).put(GRAPH, order)
    (path,) = _place(folder).iterdir()
    return path


def _get(cache, graph=GRAPH, model: Any = "multiplications"):
    order = cache.get(graph, model)
    assert order is not None
    return order


def _same(order, expected):
    return order == expected and vars(order) == vars(expected)


#
# What is put is found again, and the best of it stays
#


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_was_put_is_found(tmp_path, on_disk):
    folder = tmp_path / "missing" / "folder" if on_disk else None
    cache = OrderCache(folder)
    assert cache.get(GRAPH) is None
    order = _order(GRAPH, GOOD, seconds=1.5, lower_bound=3, found_by="Jürgen, 17")
    cache.put(GRAPH, order)
    assert _same(cache.get(GRAPH), order)
    again = OrderCache(folder).get(GRAPH)
    assert _same(again, order) if on_disk else again is None


def test_plain_data(tmp_path):
    path = _stored(tmp_path)
    assert path.parent.parent == tmp_path / f"v{_cache.VERSION}"
    entry = json.loads(path.read_text(encoding="ascii"))
    assert sorted(entry.pop("order")) == [0, 1, 2, 3]
    assert all(type(value) in (int, float, str) for value in entry.values())


@pytest.mark.parametrize("fresh", [True, False], ids=["processes", "one process"])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_stays(tmp_path, seed, fresh):
    cache, best = OrderCache(tmp_path), None
    for order in random.Random(seed).sample(ORDERS, 12):
        cache = OrderCache(tmp_path) if fresh else cache
        cache.put(GRAPH, order)
        best = order if best is None or order.cost < best.cost else best
        assert cache.get(GRAPH) == OrderCache(tmp_path).get(GRAPH) == best
        assert len(list(_place(tmp_path).iterdir())) == 1


@pytest.mark.parametrize("bounds", list(it.permutations([0, 7, BEST.cost])), ids=str)
def test_of_equal_cost_the_most_proved_stays(tmp_path, bounds):
    caches = [OrderCache(tmp_path) for _ in bounds]
    for cache in caches:  # What another process writes, they will not see.
        cache.put(GRAPH, WORST)
    for cache, bound in zip(caches, bounds):
        cache.put(GRAPH, _order(GRAPH, BEST, lower_bound=bound))
    stored = _get(OrderCache(tmp_path))
    assert stored == BEST and stored.optimal


def test_another_version_is_not_touched(tmp_path, monkeypatch):
    path = _stored(tmp_path)
    monkeypatch.setattr(_cache, "VERSION", _cache.VERSION + 1)
    cache = OrderCache(tmp_path)
    assert cache.get(GRAPH) is None
    cache.put(GRAPH, WORST)
    assert OrderCache(tmp_path).get(GRAPH) == WORST
    monkeypatch.undo()
    assert path.exists() and OrderCache(tmp_path).get(GRAPH) == GOOD


@pytest.mark.parametrize(
    "order, match",
    [
        (_order(GRAPH, GOOD[:-1]), "must be a permutation .*missing"),
        (Order((0, 1, 2, 3), cost=1, cost_model="flops", found_by=""), "inputs"),
        (Order(GOOD, cost=1, cost_model="multiplications", found_by=""), "it costs 25"),
        (Order(GOOD, cost=GOOD.cost, cost_model="newton", found_by=""), "`cost` must"),
        (_order(GRAPH, GOOD, lower_bound=GOOD.cost + 1), "its lower bound is not so"),
        (_order(GRAPH, GOOD, lower_bound=-1), "its lower bound is not so"),
        (_order(GRAPH, GOOD, seconds=float("nan")), "no time"),
        (_order(GRAPH, GOOD, found_by="a\nb"), "cannot be printed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_put_must_be_true(tmp_path, order, match):
    cache = OrderCache(tmp_path)
    with pytest.raises(ValueError, match=match):
        cache.put(GRAPH, order)
    assert cache.get(GRAPH) is None and not list(tmp_path.iterdir())


#
# What shares an order, and what does not
#


def test_equal_structure_is_shared(tmp_path):
    """Other numbers, dead vertices in between, and other names."""
    number = [0, 2, 3, 7, 8, 12, 13, 14, 16]
    edges = [(number[u], number[v]) for u, v in EDGES] + [(0, 4), (3, 9)]
    ends = [0, 2], [13, 14, 16]
    other = ComputationalGraph.from_edges(17, *ends, edges)
    other = replace(other, labels=tuple(f"name {v}" for v in range(17)))
    assert other.fingerprint == GRAPH.fingerprint
    OrderCache(tmp_path).put(GRAPH, GOOD)
    order = _get(OrderCache(tmp_path), other)
    assert order == tuple(number[v] for v in GOOD)
    assert order.cost == GOOD.cost


def _scaled(scale, shape=(3,)):
    fun = lambda x: jnp.sin(scale * jnp.exp(x)) * jnp.exp(x)  # noqa: E731
    return eqx_cc.trace(fun, jnp.ones(shape)).graph


@pytest.mark.parametrize(
    "one, other",
    [
        (GRAPH, _graph([*EDGES[:-2], (2, 8)])),
        (GRAPH, ComputationalGraph.from_edges(9, [1, 0], [6, 8, 7], EDGES[::-1][1:])),
        (_scaled(2.0), _scaled(3.0)),
        (_scaled(2.0), _scaled(2.0, (4,))),
        (_scaled(2.0), _scaled(jnp.full(3, 2.0))),
    ],
    ids=["edges", "an edge less", "coefficients", "sizes", "values"],
)
def test_different_graphs_do_not_share(tmp_path, one, other):
    cache = OrderCache(tmp_path)
    cache.put(one, _order(one, one.intermediates))
    assert cache.get(one) is not None and cache.get(other) is None


MODELS = [
    eqx_cc.Multiplications(),
    eqx_cc.Published(),
    eqx_cc.Flops(),
    eqx_cc.Traffic(),
    eqx_cc.Traffic(4),
    Pairs(),
]


def test_cost_models_do_not_share(tmp_path):
    cache = OrderCache(tmp_path)
    for i, model in enumerate(MODELS):
        assert all(cache.get(GRAPH, other) is None for other in MODELS[i:])
        cache.put(GRAPH, _order(GRAPH, ORDERS[i], model), model)
    for order, model in zip(ORDERS, MODELS):
        stored = _get(OrderCache(tmp_path), GRAPH, model)
        assert stored == order and stored.cost_model == model.name


@pytest.mark.parametrize("on_disk", [True, False])
def test_two_models_of_one_name(tmp_path, on_disk):
    """Orders of one model are no orders of the other."""
    cache = OrderCache(tmp_path if on_disk else None)
    cache.put(GRAPH, _order(GRAPH, GOOD, Pairs()), Pairs())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert cache.get(GRAPH, Pairs(2)) is None
    assert len(caught) == on_disk
    order = _order(GRAPH, WORST, Pairs(2))
    cache.put(GRAPH, order, Pairs(2))
    assert _get(cache, GRAPH, Pairs(2)).cost == order.cost == 2 * WORST.cost


#
# Damaged and hostile files
#

_HUGE = 10**400
_RAW = {
    "empty": b"",
    "cut": b'{"version": 1, "ord',
    "null": b"null",
    "a number": b"3",
    "a string": b'"order"',
    "a list": b"[]",
    "no entries": b"{}",
    "binary": bytes(range(256)),
    "not UTF-8": b'{"order": "\xff\xfe"}',
    "deep": b"[" * 500_000,
    "deep and closed": b"[" * 20_000 + b"]" * 20_000,
    "long": b" " * (1 << 22) + b"{}",
    "a long number": b"9" * 100_000,
    "pickle": b"cos\nsystem\n(S'echo'\ntR.",
}
_WRONG = {
    "order": [
        *(None, 3, "0123", {"0": 1, "1": 2, "2": 3, "3": 4}),
        *([], [0, 1, 2], [0, 1, 2, 3, 4], [0, 0, 1, 2], [1, 2, 3, 4], [-1, 0, 1, 2]),
        *([False, True, 2, 3], [0.0, 1, 2, 3], ["0", "1", "2", "3"], [[0], 1, 2, 3]),
        *([None, 1, 2, 3], [float("nan"), 1, 2, 3], [_HUGE, 1, 2, 3]),
        [0, 1, 2, 3],  # A permutation, of another cost.
    ],
    "cost": [None, 0, -1, True, "25", 25.0, float("nan"), float("inf"), _HUGE, [25]],
    "lower_bound": [None, -1, False, "0", 0.0, 26, _HUGE, [0]]
    + [float(x) for x in ("nan", "inf", "-inf")],
    "seconds": [None, -1, -0.5, True, "1", _HUGE, [1.0]]
    + [float(x) for x in ("nan", "inf", "-inf")],
    "found_by": [None, 3, ["test"], "x" * 100_000, "\x1b[2J", "a\nb", "\u202eabc"],
}
_ENTRY = _cache.entry_of(GRAPH, GOOD)
_HOSTILE = _RAW | {
    f"{key}: {str(value)[:20]!r}": json.dumps(_ENTRY | {key: value}).encode()
    for key, values in _WRONG.items()
    for value in values
}
_HOSTILE |= {
    f"no {key}": json.dumps({k: v for k, v in _ENTRY.items() if k != key}).encode()
    for key in _WRONG
}


def _expect_reported(cache, expected, match="holds no order of this graph"):
    """Checks the result of a look-up, and that its problem is reported once."""
    with pytest.warns(UserWarning, match=match) as caught:
        assert cache.get(GRAPH) == expected
        assert cache.get(GRAPH) == expected
    assert len(caught) == 1


@pytest.mark.parametrize("name", _HOSTILE)
def test_hostile(tmp_path, name):
    path = _stored(tmp_path)
    path.write_bytes(_HOSTILE[name])
    cache = OrderCache(tmp_path)
    _expect_reported(cache, None)
    assert not path.exists()
    cache.put(GRAPH, GOOD)
    assert path.exists() and OrderCache(tmp_path).get(GRAPH) == GOOD


@pytest.mark.parametrize("claim", ["0-0", "24-24", "25-0", "007-0", "1-" + "9" * 200])
def test_a_name_that_lies(tmp_path, claim):
    path = _stored(tmp_path)
    liar = path.with_name(f"{claim}.json")
    liar.write_bytes(path.read_bytes())
    _expect_reported(OrderCache(tmp_path), GOOD)
    assert not liar.exists() and path.exists()


@pytest.mark.parametrize(
    "name", ["0.json", "-1-0.json", "٣-٠.json", "0-0.json.part", "0-0.JSON", "a b", "…"]
)
def test_other_names_are_not_ours(tmp_path, name):
    path = _stored(tmp_path)
    other = path.with_name(name)
    other.write_text("{")
    assert OrderCache(tmp_path).get(GRAPH) == GOOD
    OrderCache(tmp_path).put(GRAPH, BEST)
    assert other.exists() and not path.exists()


def test_an_order_of_another_graph(tmp_path):
    other = _graph(EDGES[:-1])
    OrderCache(tmp_path).put(other, _order(other, BEST))
    _place(tmp_path, other).rename(_place(tmp_path))
    _expect_reported(OrderCache(tmp_path), None)


def test_any_damage(tmp_path):
    """Cut anywhere, or with any byte changed: an order of that cost, or none."""
    path = _stored(tmp_path)
    whole, rng = path.read_bytes(), random.Random(0)
    damaged = [whole[:i] for i in range(len(whole))]
    for i in range(len(whole)):
        damaged.append(whole[:i] + bytes([rng.randrange(256)]) + whole[i + 1 :])
    for data in damaged:
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            order = OrderCache(tmp_path).get(GRAPH)
        if order is None:
            assert not path.exists()
        else:
            assert order.cost == order_cost(GRAPH, order, eqx_cc.Multiplications())
            assert order.cost == GOOD.cost


def _link(path, target):
    path.symlink_to(target)


def _full_folder(path, target):
    path.mkdir()
    (path / "of somebody").write_text("work")


KINDS = {
    "link": _link,
    "broken link": lambda path, target: path.symlink_to("nowhere"),
    "link to a device": lambda path, target: path.symlink_to("/dev/zero"),
    "link to itself": lambda path, target: path.symlink_to(path),
    "pipe": lambda path, target: os.mkfifo(path),
    "folder": lambda path, target: path.mkdir(),
    "full folder": _full_folder,
}
on_posix = pytest.mark.skipif(os.name != "posix", reason="POSIX has these")


@on_posix
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file(tmp_path, kind):
    path = _stored(tmp_path / "cache")
    target = path.rename(tmp_path / path.name)
    KINDS[kind](path, target)
    cache = OrderCache(tmp_path / "cache")
    _expect_reported(cache, None, "not a file")
    assert os.path.lexists(path) == (kind == "full folder")
    if kind == "full folder":
        with pytest.warns(UserWarning, match="cannot be written"):
            cache.put(GRAPH, GOOD)
        assert cache.get(GRAPH) == GOOD
        cache.put(GRAPH, BEST)
        path = path.with_name(f"{BEST.cost}-{BEST.cost}.json")
    else:
        cache.put(GRAPH, GOOD)
    assert path.is_file() and not path.is_symlink() and target.is_file()


@on_posix
@pytest.mark.parametrize("kind", ["link", "broken link", "pipe", "file"])
def test_what_is_no_folder(tmp_path, kind):
    place = _stored(tmp_path / "cache").parent
    target = place.rename(tmp_path / "target")
    KINDS.get(kind, lambda path, target: path.write_text(""))(place, target)
    cache = OrderCache(tmp_path / "cache")
    _expect_reported(cache, None, "is no folder")
    cache.put(GRAPH, BEST)
    assert OrderCache(tmp_path / "cache").get(GRAPH) == BEST
    assert len(list(target.iterdir())) == 1


def test_a_jacobian_in_spite_of_it(tmp_path, monkeypatch):
    """In the order of a damaged file, and of a good one."""

    def fun(x):
        w = jnp.sin(x)
        return w[1:] * w[:-1] * jnp.sum(jnp.exp(w))

    x = jnp.array([0.3, -0.2, 0.9])
    monkeypatch.setenv("EQX_CC_CACHE", str(tmp_path))
    graph = eqx_cc.trace(fun, x).graph
    OrderCache(tmp_path).put(graph, _order(graph, graph.intermediates[::-1]))
    (path,) = _place(tmp_path, graph).iterdir()
    path.with_name("0-0.json").write_text("[")
    expected = jax.jacfwd(fun)(x)
    with pytest.warns(UserWarning, match="holds no order"):
        ours = jax.jit(eqx_cc.cc_jacobian(fun, granularity="array"))(x)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)
    assert eqx_cc.explain(fun, x).found_by == "test (looked up)"


#
# Folders that do not serve
#


def _deny(*args, **kwargs):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    "owner, name", [(pathlib.Path, "mkdir"), (os, "replace"), (_store, "open")]
)
def test_cannot_be_written(tmp_path, monkeypatch, owner, name):
    path = _stored(tmp_path)
    monkeypatch.setattr(owner, name, _deny, raising=False)
    cache = OrderCache(tmp_path)
    with pytest.warns(UserWarning, match="cannot be written") as caught:
        cache.put(GRAPH, ORDERS[4])
        cache.put(GRAPH, BEST)
    assert len(caught) == 1
    assert cache.get(GRAPH) == BEST  # In memory.
    assert list(path.parent.iterdir()) == [path]
    assert OrderCache(tmp_path).get(GRAPH) == GOOD


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_half_a_file(tmp_path, monkeypatch, error):
    def dump(entry, file):
        file.write("{")
        file.flush()
        raise error

    path = _stored(tmp_path)
    monkeypatch.setattr(_store.json, "dump", dump)
    if isinstance(error, OSError):
        with pytest.warns(UserWarning, match="cannot be written .no space left"):
            OrderCache(tmp_path).put(GRAPH, BEST)
    else:
        with pytest.raises(KeyboardInterrupt):
            OrderCache(tmp_path).put(GRAPH, BEST)
    assert list(path.parent.iterdir()) == [path]


def test_what_cannot_be_read_stays(tmp_path, monkeypatch):
    path = _stored(tmp_path)
    monkeypatch.setattr(pathlib.Path, "read_bytes", _deny)
    _expect_reported(OrderCache(tmp_path), None, "cannot be read")
    monkeypatch.undo()
    assert path.exists() and OrderCache(tmp_path).get(GRAPH) == GOOD


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    _stored(tmp_path)
    monkeypatch.setattr(os, "scandir", _deny)
    _expect_reported(OrderCache(tmp_path), None, "cannot be read")


@pytest.mark.parametrize("below", ["", "below", f"v{_cache.VERSION}"])
def test_a_file_where_the_folder_should_be(tmp_path, below):
    """There is a single report for all graphs and orders."""
    file = tmp_path / "file"
    if below.startswith("v"):
        file.mkdir()
        (file / below).write_text("")
        cache = OrderCache(file)
    else:
        file.write_text("")
        cache = OrderCache(file / below)
    other = _graph([*EDGES[:-2], (2, 8)])
    with pytest.warns(UserWarning, match="cannot be read") as caught:
        for graph in (GRAPH, other):
            assert cache.get(graph) is None
            cache.put(graph, _order(graph, GOOD))
            assert cache.get(graph) == GOOD
    assert len(caught) == 1


def test_a_file_that_another_process_removed(tmp_path, monkeypatch):
    path = _stored(tmp_path)
    files = OrderCache(tmp_path)._files(path.parent)
    gone = (0, 0), path.with_name("0-0.json")
    monkeypatch.setattr(OrderCache, "_files", lambda *_: [gone, *files])
    assert OrderCache(tmp_path).get(GRAPH) == GOOD


def test_a_folder_that_goes(tmp_path):
    path = _stored(tmp_path)
    cache = OrderCache(tmp_path)
    assert cache.get(GRAPH) == GOOD
    path.unlink()
    path.parent.rmdir()
    assert cache.get(GRAPH) == GOOD
    cache.put(GRAPH, BEST)
    assert OrderCache(tmp_path).get(GRAPH) == BEST


#
# Many processes at once
#

_WRITER = """
import json, sys, warnings
import eqx_cc
warnings.simplefilter("error")
folder, edges, orders, fresh = json.loads(sys.argv[1])
graph = eqx_cc.ComputationalGraph.from_edges(9, [0, 1], [6, 7, 8], edges)
cache = eqx_cc.OrderCache(folder)
print("ready", flush=True)
sys.stdin.readline()
for order, cost in orders:
    order = eqx_cc.Order(order, cost=cost, cost_model="multiplications", found_by="")
    cache = eqx_cc.OrderCache(folder) if fresh else cache
    cache.put(graph, order)
    stored = cache.get(graph)
    assert stored.cost <= cost, (stored, cost)
"""


def _started(command):
    pipe, env = subprocess.PIPE, os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=env
    )


def test_concurrent_writers(tmp_path):
    """Better and worse orders at once: nobody fails, and the best is there at last."""
    commands, rng = [], random.Random(0)
    for i in range(3):
        orders = rng.choices(ORDERS[1:], k=100)
        orders[50:50] = [BEST] if i == 1 else []
        listed = [(order, order.cost) for order in orders]
        task = json.dumps([str(tmp_path), EDGES, listed, i < 2])
        commands.append([sys.executable, "-c", _WRITER, task])
    writers = [_started(command) for command in commands]
    for writer in writers:  # All of them are ready,
        assert writer.stdout is not None and writer.stdout.readline()
    for writer in writers:  # and go.
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        _, errors = writer.communicate()
        assert writer.returncode == 0, errors
    assert OrderCache(tmp_path).get(GRAPH) == BEST
    names = [path.name for path in _place(tmp_path).iterdir()]
    assert not [name for name in names if not name.endswith(".json")]


#
# The library, and the folder of the user
#


def _ship(monkeypatch, entry, graph=GRAPH, model="multiplications"):
    library = {f"{graph.fingerprint} {model}": entry}
    monkeypatch.setattr(_cache, "_library", lambda: library)


def test_the_library_is_sound():
    assert isinstance(_cache._library(), dict)


def test_an_order_of_the_library(tmp_path, monkeypatch):
    _ship(monkeypatch, _ENTRY)
    cache = OrderCache(tmp_path)
    order = _get(cache)
    assert order == GOOD and order.found_by == "test"
    cache.put(GRAPH, WORST)
    assert cache.get(GRAPH) == GOOD and not list(tmp_path.iterdir())
    cache.put(GRAPH, BEST)
    assert cache.get(GRAPH) == OrderCache(tmp_path).get(GRAPH) == BEST


@pytest.mark.parametrize("stored, best", [(BEST, BEST), (WORST, GOOD)])
def test_the_library_or_the_folder(tmp_path, monkeypatch, stored, best):
    OrderCache(tmp_path).put(GRAPH, stored)
    _ship(monkeypatch, _ENTRY)
    assert OrderCache(tmp_path).get(GRAPH) == best


def test_of_equal_cost_the_library_may_have_proved_more(tmp_path, monkeypatch):
    OrderCache(tmp_path).put(GRAPH, BEST)
    proved = _order(GRAPH, BEST, lower_bound=BEST.cost)
    _ship(monkeypatch, _cache.entry_of(GRAPH, proved))
    assert _get(OrderCache(tmp_path)).optimal


@pytest.mark.parametrize("entry", [None, [], "", _ENTRY | {"order": [0, 0, 1, 2]}])
def test_a_library_that_is_damaged(monkeypatch, entry):
    _ship(monkeypatch, entry)
    assert OrderCache().get(GRAPH) is None


@pytest.mark.parametrize("value", ["", "off", "OFF"])
def test_off(monkeypatch, value):
    monkeypatch.setenv("EQX_CC_CACHE", value)
    cache = _cache.default_cache()
    assert cache.folder is None and cache is _cache.default_cache()


def test_a_folder_of_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("EQX_CC_CACHE", str(tmp_path))
    assert _cache.default_cache().folder == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EQX_CC_CACHE", "~/orders")
    if os.name == "posix":
        assert _cache.default_cache().folder == tmp_path / "orders"


@on_posix
@pytest.mark.parametrize(
    "platform, environment, folder",
    [
        ("linux", {}, "/home/me/.cache"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/me/.cache"),
        ("linux", {"XDG_CACHE_HOME": "/tmp/xdg"}, "/tmp/xdg"),
        ("linux", {"XDG_CACHE_HOME": "~/xdg"}, "/home/me/xdg"),
        ("darwin", {"XDG_CACHE_HOME": "/tmp/xdg"}, "/home/me/Library/Caches"),
        ("win32", {}, "/home/me/AppData/Local"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
    ],
)
def test_the_folder_of_the_user(monkeypatch, platform, environment, folder):
    for name in ("EQX_CC_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert _cache.default_cache().folder == pathlib.Path(folder, "eqx_cc")


@on_posix
@pytest.mark.parametrize("value", [None, "~nobody_of_that_name/orders", "~/orders"])
def test_no_home(monkeypatch, value):
    """Neither a failure, nor a folder called `~`."""
    import pwd

    def unknown(*_):
        raise KeyError("no such user")

    for name in ("HOME", "EQX_CC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv("EQX_CC_CACHE", value)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    assert _cache.default_cache().folder is None
