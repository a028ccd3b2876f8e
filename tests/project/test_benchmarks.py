"""The functions whose Jacobians are timed, and the harness that times them."""

import functools as ft
import importlib
import importlib.util
import json
import shutil
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks import never, runtime
from benchmarks.cases import Case, CASES, kinetics, real_robots, robots
from benchmarks.cases.coupled import arrowhead, MeanField
from benchmarks.cases.networks import Attention
from benchmarks.cases.tasks import TASKS
from benchmarks.harness import measure, rows as files, timing
from benchmarks.harness.contestants import contestants, Transform
from benchmarks.reports import headline, peers
from helpers import assert_jacobian_close, relative_error
from jax.flatten_util import ravel_pytree


PUBLISHED = "scalar tasks", "array tasks", "arguments"
# The cases that need no library of robots, which take long to be imported and traced.
NAMES = [name for name, case in CASES.items() if case.group != real_robots.GROUP]
# Whose Jacobian takes seconds to compile, or is large.
HEAVY = {
    name
    for name, case in CASES.items()
    if case.group in PUBLISHED or case.name.startswith("7-DOF") or case.structured
}
HEAVY |= {"attention 24x16", "POLLU", "2-D Gray-Scott, 64 states"}
PEERS = {
    "asdex": ("asdex",),
    "asdex bcoo": ("asdex",),
    "sparsejac": ("asdex", "sparsejac"),
    "CasADi": ("casadi",),
}


def _missing(name):
    if name == "CasADi" and not (shutil.which("gcc") or shutil.which("cc")):
        return True
    return not all(map(importlib.util.find_spec, PEERS.get(name, ())))


def _tiny(x):
    """Dense, but not symmetric, and neither constant nor zero anywhere."""
    return jnp.stack([jnp.sin(x[0] * x[1]) + x[2] ** 2, jnp.exp(x[0]) * x[1] * x[2]])


TINY = Case("tiny", "tests", _tiny, np.array([0.3, 0.7, -0.4]))
BAND = Case(
    "band",
    "tests",
    lambda x: jnp.sin(x) + jnp.pad(x[1:] * x[:-1], (0, 1)),
    np.linspace(0.1, 1.0, 9),
    structured=True,
)


@pytest.fixture
def quick(monkeypatch):
    """Samples are as short as they can be, other tests keep what they have compiled,
    and JAX is as peers expect it."""
    monkeypatch.setattr(jax, "clear_caches", lambda: None)
    monkeypatch.setattr(timing, "SAMPLE", 1e-4)
    monkeypatch.setattr(timing, "MIN_ROUNDS", 1)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


#
# The functions
#


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_types(name):
    case = CASES[name]
    fun, x = case.at("float32")
    out = jax.tree.leaves(jax.eval_shape(fun, x))
    assert all(leaf.dtype == np.float32 for leaf in [*out, *jax.tree.leaves(x)])
    assert case.num_outputs == sum(leaf.size for leaf in out) > 0
    assert len([s for s in case.settings if case.fits(s)]) > 0


def _cases_by_weight():
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(name, marks=marks[name in HEAVY]) for name in NAMES]


@pytest.mark.parametrize("name", _cases_by_weight())
def test_jacobian(name):
    case = CASES[name]
    if not case.is_dense:
        pytest.skip("a test of its own compares products")
    fun, x = case.at("float64")
    assert np.isfinite(ravel_pytree(jax.jit(fun)(x))[0]).all()
    assert_jacobian_close(fun, x, orders=("auto",), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in NAMES])
def test_jacobian_of_real_robots(name, quick):
    chosen = {name: contestants()[name] for name in ("eqx_cc", "jax.jacrev")}
    for row in measure.measure(CASES[name], "call", "float64", chosen, 0.0):
        assert row.status == "ok", row.reason


@pytest.mark.slow
@pytest.mark.skipif(
    not {"adam arm, bias forces", "MJX arm, bias forces"} <= CASES.keys(),
    reason="needs adam and MJX",
)
def test_libraries_agree_on_an_arm(quick):
    for name in ("bias forces", "forward dynamics"):
        (one, x), (two, _) = (
            CASES[f"{library} arm, {name}"].at("float64") for library in ("adam", "MJX")
        )
        np.testing.assert_allclose(jax.jit(one)(x), jax.jit(two)(x), rtol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_products_of_what_is_too_large_to_be_dense(name, quick):
    if CASES[name].is_dense:
        pytest.skip("the test above compares the whole Jacobian")
    chosen = {"eqx_cc structured": contestants()["eqx_cc structured"]}
    [row] = measure.measure(CASES[name], "call", "float64", chosen, 0.0)
    assert row.status == "ok", row.reason


@pytest.mark.parametrize(
    "fun, shape",
    [
        (arrowhead, (6,)),
        (MeanField(*np.linspace(-1.0, 1.0, 10).reshape(2, 5)), (5,)),
        (Attention(*np.linspace(-1.0, 1.0, 27).reshape(3, 3, 3)), (4, 3)),
    ],
    ids=["arrowhead", "mean field", "attention"],
)
def test_jacobian_of_small_sizes(fun, shape):
    x = np.linspace(0.1, 0.9, int(np.prod(shape))).reshape(shape)
    case = Case("small", "tests", fun, x)
    assert_jacobian_close(*case.at("float64"), orders=("auto",))


@pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if c.group == "scalar tasks"]
)
def test_functions_of_vectors_are_those_of_the_tasks(name):
    fun, x = CASES[name].at("float64")
    task = TASKS[name]
    pair = jax.jit(lambda x: (fun(x), task.by_argument(task.inputs)))(x)
    got, expected = (ravel_pytree(out)[0] for out in pair)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_conserved_by_kinetics():
    y = jnp.linspace(0.2, 1.9, 20)
    assert jnp.sum(kinetics.robertson(y[:3])) == pytest.approx(0.0, abs=1e-6)
    rates = kinetics.hires(y[:8])
    assert rates[6] + rates[7] == pytest.approx(0.0, abs=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fun, start, end, time",
    [
        (kinetics.pollu, kinetics.POLLU_START, kinetics.POLLU_END, 60.0),
        (kinetics.hires, kinetics.HIRES_START, kinetics.HIRES_END, 321.8122),
    ],
    ids=["POLLU", "HIRES"],
)
def test_kinetics_reach_their_published_ends(fun, start, end, time):
    import diffrax

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: fun(y)),
        diffrax.Kvaerno5(),
        0.0,
        time,
        1e-6,
        jnp.asarray(start),
        stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-14),
        max_steps=100_000,
    )
    assert solution.ys is not None
    np.testing.assert_allclose(solution.ys[0], end, rtol=1e-5)


def test_the_arm_turns_frames():
    pose = robots.Arm()(jnp.linspace(-1.0, 1.0, 6)).reshape(3, 4)
    rotation = pose[:, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_inverse_dynamics_are_lagrangian():
    """Mass matrices are symmetric and positive; power is the change of energy."""
    robot, (q, qd, qdd) = _arm(3)
    still = ft.partial(robot.inverse_dynamics, qd=jnp.zeros(3), gravity=0.0)

    @jax.jit
    def dynamics(q, qd, qdd):
        torque = robot.inverse_dynamics(q, qd, qdd, gravity=0.0)
        energy = lambda q, qd: 0.5 * qd @ still(q, qdd=qd)  # noqa: E731
        _, change = jax.jvp(energy, (q, qd), (qd, qdd))
        mass = jax.vmap(lambda unit: still(q, qdd=unit))(jnp.eye(3))
        return torque @ qd, change, mass

    power, change, mass = dynamics(q, qd, qdd)
    np.testing.assert_allclose(mass, mass.T, atol=1e-12)
    assert np.linalg.eigvalsh(mass).min() > 0.0
    assert float(power) == pytest.approx(float(change), rel=1e-10)


def test_gravity_is_the_gradient_of_the_potential():
    """At rest, torques hold the masses up."""
    robot, (q, _, _) = _arm(3)

    def potential(q):
        turn, place, total = jnp.eye(3), jnp.zeros(3), 0.0
        for i in range(3):
            place = place + turn @ robot.position[i]
            turn = turn @ robot.fixed[i] @ robots._turn(q[i])
            total += 9.81 * robot.mass[i] * (place + turn @ robot.centre[i])[2]
        return total

    @jax.jit
    def torques(q):
        still = jnp.zeros_like(q)
        return robot.inverse_dynamics(q, still, still), jax.grad(potential)(q)

    np.testing.assert_allclose(*torques(q), rtol=1e-10)


def _arm(links):
    """The first links of the arm, and a motion of them."""
    robot = jax.tree.map(lambda a: jnp.asarray(a[:links]), robots.seven_links())
    return robot, tuple(
        jnp.linspace(a, b, links) for a, b in [(-1, 1), (2, -1), (0, 1)]
    )


@pytest.mark.slow
def test_forward_dynamics_invert_inverse_dynamics():
    robot, (q, qd, qdd) = _arm(7)
    torque = robot.inverse_dynamics(q, qd, qdd)
    back = jax.jit(lambda *args: robot.forward_dynamics(*args))(q, qd, torque)
    np.testing.assert_allclose(back, qdd, atol=1e-9)


#
# The loop
#


def test_the_loop_is_what_it_says():
    """As written out, with a shift that matters."""
    fun, start = TINY.at("float64")
    program = timing.loop_program(jax.jacfwd(fun), start, eps=0.1)
    jacobian, expected = jax.jit(jax.jacfwd(fun)), np.zeros((2, 3))
    for _ in range(4):
        expected = np.asarray(jacobian(np.asarray(start) + 0.1 * expected.sum(0)))
    [got] = program.evaluate(4)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_the_loop_reads_every_entry():
    """Zeroing any of them changes what the next iteration finds."""
    fun, x = TINY.at("float64")
    body = jax.jit(timing.loop_body(jax.jacfwd(fun), x, jnp.asarray(0.1)))
    [first] = body([jnp.zeros((2, 3))])
    [second] = body([first])
    for entry in np.ndindex(2, 3):
        changed = np.array(first)
        changed[entry] = 0.0
        assert relative_error(body([changed])[0], second) > 1e-4


def test_the_loop_reads_what_several_inputs_have():
    """Every block moves the input that it is of."""

    def fun(pair):
        return pair[0] * pair[1][0], jnp.sum(pair[0]) * pair[1]

    x = jnp.linspace(0.2, 0.4, 3), jnp.linspace(0.5, 0.6, 2)
    values = timing.stored(jax.jit(jax.jacfwd(fun))(x))
    shifted = jax.jit(lambda values: timing.shifted(x, values, jnp.asarray(0.1)))
    for i, value in enumerate(values):
        moved = [np.asarray(v) + (i == j) for j, v in enumerate(values)]
        ends = zip(shifted(values), shifted(moved))
        change = [np.sum(np.asarray(b) - np.asarray(a)) for a, b in ends]
        assert change[i % 2] == pytest.approx(0.1 * value.size)
        assert change[1 - i % 2] == pytest.approx(0.0)


@pytest.mark.parametrize("size", [1, 4, 5, 6, 12])
def test_fold_adds_everything_up(size):
    values = [jnp.arange(1.0, size + 1), jnp.ones((2, 1))]
    folded = timing.fold(values, jnp.zeros(5))
    assert folded.shape == (5,)
    assert float(jnp.sum(folded)) == pytest.approx(size * (size + 1) / 2 + 2)


#
# Measuring
#


@pytest.mark.parametrize(
    "case, setting",
    [(TINY, "call"), (TINY, "loop"), (TINY, "batch 512"), (BAND, "loop")],
    ids=lambda value: getattr(value, "name", value),
)
def test_contestants_agree(case, setting, quick):
    everyone = contestants()
    rows = measure.measure(case, setting, "float64", everyone, 0.0)
    assert [row.contestant for row in rows] == list(everyone)
    for row in rows:
        assert (row.reason == "") == (row.status == "ok")
        if everyone[row.contestant].refusal(case, setting):
            assert row.status == "refused"
        elif not _missing(row.contestant) and row.contestant != "eqx_cc measured":
            assert row.status == "ok", f"{row.contestant}: {row.reason}"
            assert row.median is not None and row.median > 0.0
    best = min(row.median or np.inf for row in rows[:2])
    for row in rows:
        if row.status == "ok":
            assert row.median and row.ratio == pytest.approx(best / row.median)


def _doubled(fun):
    return lambda x: 2.0 * jax.jacfwd(fun)(x)


def _late(fun):
    """Wrong at all points of a batch but the first."""
    x = TINY.at("float64")[1]
    return lambda y: jax.jacfwd(fun)(y) * (1.0 + 1e-3 * jnp.sum((y - x) ** 2) ** 0.25)


def _failing(fun):
    raise ValueError("it does not")


@pytest.mark.parametrize("setting", ["call", "loop", "batch 512"])
@pytest.mark.parametrize("wrong", [_doubled, _late])
def test_a_wrong_jacobian_is_not_timed(wrong, setting, quick):
    chosen = {"wrong": Transform("wrong", transform=wrong)}
    [row] = measure.measure(TINY, setting, "float64", chosen, 0.0)
    if wrong is _late and not setting.startswith("batch"):
        assert row.status == "ok"
    else:
        assert row.status == "ERROR" and "differs" in row.reason
        assert row.median is None


def test_who_fails_is_skipped(quick):
    chosen = {"failing": Transform("failing", transform=_failing)}
    [row] = measure.measure(TINY, "call", "float64", chosen, 0.0)
    assert (row.status, row.reason) == ("skipped", "ValueError: it does not")


def test_float32(quick):
    chosen = {name: contestants()[name] for name in ("jax.jacfwd", "eqx_cc", "floor")}
    rows = measure.measure(TINY, "loop", "float32", chosen, 0.0)
    assert [row.status for row in rows] == ["ok"] * 3


@pytest.mark.skipif(_missing("CasADi"), reason="needs CasADi")
def test_interpretation_by_casadi():
    """Moving, reducing, contracting and choosing of arrays of expressions."""
    casadi: Any = importlib.import_module("casadi")
    from benchmarks.harness.casadi_expressions import expressions

    def fun(x):
        a = x.reshape(2, 3)
        b = jnp.where(a > 0.5, jnp.tanh(a), a**3) @ jnp.arange(6.0).reshape(3, 2)
        c = jnp.einsum("bij,bjk->bik", jnp.stack([b, b.T]), jnp.stack([b, b + 1.0]))
        parts = [jnp.max(a, axis=0), jnp.roll(x, 2)[::-1], jnp.pad(x, 1), c.ravel()]
        return jnp.concatenate([*parts, jax.nn.softmax(x), jnp.arctan2(x[:1], x[1:2])])

    x = jnp.linspace(0.1, 1.2, 6)
    symbols, y = expressions(fun, x)
    got = casadi.Function("f", [symbols], [y])(np.asarray(x))
    np.testing.assert_allclose(got.full()[:, 0], fun(x), rtol=1e-12)


#
# Reports
#


def _row(**changes):
    about = ("RoeFlux_1d", "scalar tasks", "loop", "float64", 1, 18)
    row = measure.Row(*about, contestant="eqx_cc", structured=False)
    for key, value in {"median": 2e-6, "ratio": 3.0, "rounds": 3, **changes}.items():
        setattr(row, key, value)
    return row


def test_goals():
    rows = [_row(), _row(case="Lighthouse", ratio=12.0), _row(status="ERROR")]
    goal = {line[0]: line[2] for line in headline.lines(rows[:2], "float64")}
    said = goal["scalar tasks in a compiled loop"]
    assert said == "eqx_cc: geometric mean 6x of 2, least 3.00x (RoeFlux_1d)"
    assert goal["arrowhead 1,024"] == "not measured"
    assert headline.Measurements(rows[2:], "float64").row(*_key(rows[2])) is None
    for cases, setting, names in headline.BLOCKS + peers.BLOCKS:
        assert set(names) <= set(contestants())
        assert all(CASES[case].fits(setting) for case in cases)


def test_table_of_irregular_jacobians():
    """The cases in which asdex takes longest come first."""
    rows = []
    for case, times in {
        "truss, 1,000 nodes": (4e-6, 2e-6),
        "BCOO, 800 rows": (8e-6, 1e-6),
    }.items():
        for name, time in zip((peers.ASDEX, peers.OURS), times):
            rows.append(_row(case=case, setting="call", contestant=name, median=time))
    text = peers.irregular_table(headline.Measurements(rows, "float64"))
    lines = text.splitlines()
    assert lines[2].startswith("| BCOO, 800 rows |  | 1 us | 8 us |  | 8 |")
    assert "| truss, 1,000 nodes |  | 2 us | 4 us |  | 2 |" in lines[3]
    assert lines[-1].startswith("| geometric mean of 2 |") and "| 4 |" in lines[-1]


def _key(row):
    return row.case, row.setting, row.contestant


def test_command(quick, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = {"json": "out.json", "markdown": "out.md", "plot": "out.png"}
    out = {name: tmp_path / file for name, file in out.items()}
    names = ["jax.jacfwd", "eqx_cc"]
    options = ["--case", "OREGO", "--setting", "call", "--seconds", "0"]
    files = [part for name, path in out.items() for part in (f"--{name}", str(path))]
    command = ["runtime", *options, "--contestant", *names, *files]
    monkeypatch.setattr(sys, "argv", command)
    runtime.main()
    printed = capsys.readouterr().out
    rows = json.loads(out["json"].read_text())["rows"]
    assert [row["contestant"] for row in rows] == names
    assert all(row["status"] == "ok" and row["case"] in printed for row in rows)
    text = out["markdown"].read_text()
    assert f"jax {jax.__version__}" in text and text.count("OREGO") == len(rows)
    assert str(tmp_path) not in text + out["json"].read_text()
    assert out["plot"].read_bytes().startswith(b"\x89PNG")


def test_machine_says_nothing_of_paths():
    assert not any("/" in str(value) for value in files.machine().values())


def _compared_row(case, contestant, median, ratio, compile):
    return {
        **dict.fromkeys(measure.Row.__dataclass_fields__),
        **{"case": case, "setting": "loop", "contestant": contestant, "status": "ok"},
        **{"median": median, "ratio": ratio, "compile": compile},
    }


def test_the_worst_rows_come_first():
    """As `never` writes them to a file, and the documentation shows them."""
    rows = [
        _compared_row("good", "jax.jacfwd", 2.0, 1.0, 1.0),
        _compared_row("good", "eqx_cc", 1.0, 2.0, 1.5),
        _compared_row("bad", "jax.jacfwd", 2.0, 1.0, 2.0),
        _compared_row("bad", "jax.jacrev", 1.0, 2.0, 1.0),
        _compared_row("bad", "eqx_cc", 2.0, 0.5, 1.5),
    ]
    about = {"processor": "a processor", "cores": 2, "jax": "0.12.0"}
    text = never.report({"machine": about, "rows": rows})
    assert text.startswith("On a processor, 2 cores, JAX 0.12.0:")
    assert "2 rows: 50 percent at least 0.95, worst 0.50, geometric mean 1.00" in text
    assert "worst 1.50, geometric mean 1.50" in text
    assert text.index("| bad | loop | 0.50 | 1.50 |") < text.index("| good | loop |")
    one = never.report({"machine": about, "rows": rows}, count=1)
    assert "| bad " in one and "| good " not in one
