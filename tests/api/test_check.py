import dataclasses

import equinox as eqx
import eqx_cc._api.trees as transforms
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from eqx_cc._api.check import check_jacobian
from eqx_cc._orders.orderings import Reverse


X = np.array([0.5, 1.0, 2.0])


@jax.custom_vjp
def _reverse_only(x):
    return x**2


_reverse_only.defvjp(lambda x: (x**2, x), lambda x, ct: (2 * x * ct,))


@jax.custom_jvp
def _wrong_rule(x):
    return x**2


_wrong_rule.defjvp(lambda primals, tangents: (primals[0] ** 2, 3 * tangents[0]))


def _forward_only(x):
    return jax.lax.while_loop(lambda x: x[0] < 9, lambda x: x * 2, x)


@pytest.fixture
def spoil(monkeypatch):
    """Makes every Jacobian by elimination wrong, in the given way."""

    def _spoil(change):
        right = transforms._materialised
        wrong = lambda out, block: change(right(out, block))  # noqa: E731
        monkeypatch.setattr(transforms, "_materialised", wrong)

    return _spoil


def _tree(x, y, *, z):
    a, b = x["a"], x["b"][0]
    return {"out": [jnp.sin(a) * b, b * y], "none": None, "int": z, "b": b * z}


@pytest.mark.parametrize("order", ["forward", "reverse", "markowitz", Reverse()])
def test_agrees(order):
    x = {"a": jnp.asarray(X), "b": (jnp.array(2.0), "static"), "n": 3}
    report = check_jacobian(_tree, x, 2.0, z=3, order=order)
    assert report.ok
    assert report.order == order
    assert report.forward.ok and report.reverse.ok and report.finite_differences.ok
    assert report.forward.error < 1e-15
    assert report.finite_differences.error < report.finite_differences.allowed < 1e-6
    assert report.untrusted == 0
    # (3 + 1 + 1) outputs of a floating type, by 4 inputs.
    assert report.entries == 20


def test_of_a_model():
    model = eqx.nn.MLP(2, 2, 3, 1, activation=jnp.tanh, key=jr.key(0))
    x = jnp.asarray(X[:2])
    assert check_jacobian(model, x).ok
    report = check_jacobian(lambda model, x: model(x), model, x)
    assert report.ok and report.finite_differences.ok
    assert report.entries == 2 * (3 * 2 + 3 + 2 * 3 + 2)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.float16, jnp.bfloat16])
def test_dtypes(dtype):
    report = check_jacobian(lambda x: jnp.sin(x) * x, jnp.asarray(X, dtype))
    assert report.ok and report.finite_differences.ok
    precision = float(jnp.finfo(dtype).eps)
    assert report.forward.allowed == pytest.approx(precision ** (2 / 3))


def test_mixed_dtypes():
    x = [jnp.asarray(X, jnp.float32), jnp.asarray(X)]
    report = check_jacobian(
        lambda x: [x[0] * x[1].astype(jnp.float32), x[1] * x[0].astype(float)], x
    )
    assert report.ok and report.finite_differences.ok
    assert report.forward.available and report.reverse.available


def test_complex_output():
    report = check_jacobian(lambda x: jnp.exp(jax.lax.complex(x, x**2)), jnp.asarray(X))
    assert report.ok and report.reverse.available and report.finite_differences.ok


def test_string():
    report = check_jacobian(jnp.sin, jnp.asarray(X[:2]))
    lines = str(report).splitlines()
    assert lines[0] == ("Jacobian of 4 entries by elimination in the order 'auto': ok.")
    assert lines[1].startswith("  JAX forward: agrees, error ")
    assert lines[2].startswith("  JAX reverse: agrees, error ")
    assert lines[3].startswith("  finite differences: agrees, error ")
    assert lines[4].startswith("  Worst entry: d fun(...)[")
    assert [line.split("  ")[2] for line in lines[5:]] == [
        "eqx_cc",
        "JAX forward",
        "JAX reverse",
        "finite differences",
    ]


def test_is_silent_and_frozen(capsys):
    report = check_jacobian(jnp.sin, jnp.asarray(X))
    assert capsys.readouterr() == ("", "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.ok = False  # pyright: ignore[reportAttributeAccessIssue]


#
# Wrong Jacobians
#


def test_names_the_worst_entry(spoil):
    def change(block):
        return block.at[1, 2].add(0.25) if block.shape == (2, 3) else block

    spoil(change)
    x = [jnp.array(2.0), {"w": jnp.asarray(X)}]
    report = check_jacobian(
        lambda x: {"a": x[0], "b": x[0] * x[1]["w"][:2] * 3}, x, order="reverse"
    )
    assert not report.ok
    assert not report.forward.ok and not report.reverse.ok
    assert not report.finite_differences.ok
    worst = report.worst
    assert worst is not None
    assert (worst.output, worst.input) == ("fun(...)['b'][1]", "x[1]['w'][2]")
    assert worst.values == {
        "eqx_cc": 0.25,
        "JAX forward": 0.0,
        "JAX reverse": 0.0,
        "finite differences": pytest.approx(0.0, abs=1e-9),
    }
    assert report.forward.error == pytest.approx(0.25 / 6)
    text = str(report)
    assert "NOT OK" in text and "JAX forward: DISAGREES" in text
    assert "d fun(...)['b'][1] / d x[1]['w'][2]" in text


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    "change",
    [
        lambda block: block * 1.25,
        lambda block: -block,
        lambda block: block.at[0, 1].set(jnp.nan),
        lambda block: block.at[0, 0].set(jnp.inf),
        lambda block: jnp.zeros_like(block),
    ],
)
def test_wrong(spoil, change, dtype):
    spoil(change)
    assert not check_jacobian(jnp.sin, jnp.asarray(X, dtype)).ok


def test_small_errors(spoil):
    spoil(lambda block: block * (1 + 1e-10))
    report = check_jacobian(lambda x: jnp.sin(x) * x, jnp.asarray(X))
    assert not report.ok
    # Too small for finite differences to see.
    assert report.finite_differences.ok
    assert check_jacobian(jnp.sin, jnp.asarray(X, jnp.float32)).ok


#
# Where not every method can be used
#


def test_no_reverse():
    report = check_jacobian(_forward_only, jnp.asarray(X))
    assert report.ok and report.forward.ok and not report.reverse.available
    assert "JAX reverse: not available (ValueError: Reverse-mode" in str(report)
    assert report.worst is not None and report.worst.values["JAX reverse"] is None


def test_no_forward():
    report = check_jacobian(lambda x: _reverse_only(x) * x, jnp.asarray(X))
    assert report.ok and report.reverse.ok and not report.forward.available
    assert "custom_vjp" in report.forward.note


@pytest.mark.parametrize("fun, bad", [(jax.nn.relu, 1), (jnp.abs, 1), (jnp.floor, 1)])
def test_kinks_are_not_trusted(fun, bad):
    report = check_jacobian(fun, jnp.array([1.5, 0.0, -1.5]))
    assert report.ok and report.finite_differences.ok
    assert report.untrusted == 1
    assert "not trusted: 1, the first being d fun(...)[1] / d x[1]" in str(report)


def test_kink_nearby():
    for distance in (1e-6, 3e-6, 5e-6, 1e-5):
        x = jnp.array([1.0 + distance, 2.0])
        report = check_jacobian(lambda x: jnp.maximum(x, 1.0), x)
        assert report.ok and report.finite_differences.ok


def test_kink_with_a_wrong_jacobian(spoil):
    # Untrusted differences excuse nobody.
    spoil(lambda block: block.at[1, 1].add(0.3))
    report = check_jacobian(jax.nn.relu, jnp.array([1.5, 0.0, -1.5]))
    assert not report.ok and report.finite_differences.ok
    assert "finite differences  0.5 (not trusted)" in str(report)


def test_not_finite():
    report = check_jacobian(jnp.log, jnp.array([0.0, 1.0]))
    assert report.ok and report.finite_differences.ok
    assert report.untrusted >= 1
    report = check_jacobian(lambda x: jnp.sqrt(x - 1), jnp.array([0.0, 2.0]))
    assert report.ok


def test_the_modes_of_jax_disagree():
    """Reverse mode multiplies by zero what forward mode leaves out: an infinity."""
    fun = lambda x: jnp.sqrt(x)[1:]  # noqa: E731
    report = check_jacobian(fun, jnp.array([0.0, 1.0]))
    assert report.forward.ok and not report.reverse.ok and not report.ok
    assert report.disputed == 1
    assert "forward and reverse mode disagree with each other at 1 of" in str(report)
    agreed = check_jacobian(fun, jnp.array([2.0, 1.0]))
    assert agreed.ok and agreed.disputed == 0
    assert "disagree with" not in str(agreed)


def test_all_agree_but_finite_differences():
    for fun in (_wrong_rule, lambda x: jax.lax.stop_gradient(x) * x):
        report = check_jacobian(fun, jnp.asarray(X))
        assert report.ok and not report.finite_differences.ok
        assert report.untrusted == 0
        assert "`stop_gradient` or a custom rule" in str(report)


def test_rounding_is_no_error():
    # All that is left of these derivatives is rounding. Whether differences of it are
    # trusted is up to the compiler; they must dispute nothing.
    report = check_jacobian(lambda x: jnp.sum(jax.nn.softmax(x)), jnp.asarray(X))
    assert report.ok and report.disputed == 0
    report = check_jacobian(lambda x: jnp.sin(x) ** 2 + jnp.cos(x) ** 2, jnp.asarray(X))
    assert report.ok and report.finite_differences.ok


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_scales(scale):
    # Neither the size of the input nor of the output matters.
    x = jnp.asarray(X * scale)
    report = check_jacobian(lambda x: 1e-9 * jnp.sin(x / scale), x)
    assert report.ok and report.finite_differences.ok
    assert report.untrusted == 0


@pytest.mark.parametrize(
    "fun, x",
    [
        (lambda x: x, jnp.zeros(0)),
        (lambda x: x[:0], jnp.ones(3)),
        (lambda x: 3, jnp.ones(3)),
        (lambda x: (), jnp.ones(3)),
    ],
)
def test_nothing_to_compare(fun, x):
    report = check_jacobian(fun, x)
    assert report.ok and report.entries == 0 and report.worst is None
    assert "nothing to compare" in str(report)


def test_step():
    coarse = check_jacobian(jnp.sin, jnp.asarray(X), eps=1e-2).finite_differences
    fine = check_jacobian(jnp.sin, jnp.asarray(X)).finite_differences
    assert coarse.ok and fine.ok and coarse.error > 1e-6 > fine.error


#
# Bad input
#


@pytest.mark.parametrize(
    "args, kwargs, error, match",
    [
        ((3, 1.0), {}, TypeError, "`fun` must be callable, but got 3"),
        ((jnp.sin, 1.0), {}, ValueError, "`x`.* has no floating-point array"),
        ((jnp.sin, X.astype(complex)), {}, TypeError, "requires real-valued inputs"),
        ((jnp.sin, X), {"order": "fastest"}, ValueError, "`order` must be one of"),
        ((jnp.sin, X), {"eps": 0.0}, ValueError, "`eps` must be between 0 and 1"),
        ((jnp.sin, X), {"eps": -1e-3}, ValueError, "`eps` must be between 0 and 1"),
        ((lambda x: (x, "s"), X), {}, TypeError, r"`fun\(...\)\[1\]` is 's'"),
    ],
)
def test_bad_input(args, kwargs, error, match):
    with pytest.raises(error, match=match):
        check_jacobian(*args, **kwargs)


def test_traced():
    for transform in (jax.jit, jax.vmap, jax.grad):
        with pytest.raises(ValueError, match="`x` must hold numbers"):
            transform(lambda x: check_jacobian(jnp.sin, x))(jnp.ones(3))
