"""What is said where something is misused, and what the last line of a cell shows."""

import warnings

import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
import pytest
from eqx_cc import cc_jacobian


X = jnp.linspace(0.1, 0.9, 60)
TRANSFORMS = [
    eqx_cc.divergence,
    eqx_cc.filter_hessian,
    eqx_cc.filter_jacobian,
    eqx_cc.filter_value_and_jacobian,
    eqx_cc.filter_value_grad_and_hessian,
    eqx_cc.laplacian,
]


def _entry_by_entry(x):
    return jnp.stack([jnp.sin(x[i]) * x[i - 1] for i in range(len(x))])


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: t.__name__)
def test_the_point_as_a_second_argument(transform):
    name = transform.__name__
    with pytest.raises(TypeError, match=rf"write `{name}\(fun\)\(x\)`"):
        transform(jnp.sin, X)


def test_the_point_as_a_second_argument_of_cc_jacobian():
    with pytest.raises(TypeError, match=r"`argnums`.*`cc_jacobian\(fun\)\(x\)`"):
        cc_jacobian(jnp.sin, X)


def test_cc_jacobian_by_a_module():
    mlp = eqx.nn.MLP(2, 2, 2, 1, key=jr.key(0))
    with pytest.raises(TypeError, match="`cc_jacobian`.*Use `filter_jacobian`"):
        cc_jacobian(lambda module: module(jnp.ones(2)))(mlp)


@pytest.mark.parametrize("arguments", [("sin", jnp.sin), (jnp.sin,)])
def test_rules_are_for_primitives(arguments):
    with pytest.raises(TypeError, match="`register_rule` takes primitives of JAX"):
        eqx_cc.register_rule(*arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda: eqx_cc.explain(_entry_by_entry, X),
        lambda: eqx_cc.explain(_entry_by_entry, X).graph,
        lambda: eqx_cc.explain(_entry_by_entry, X).plans["chosen"],
        lambda: eqx_cc.trace(_entry_by_entry, X),
        lambda: eqx_cc.check_jacobian(jnp.sin, X),
        lambda: cc_jacobian(jnp.sin, structured=True)(X),
        lambda: cc_jacobian(jnp.sin, structured=True)(X).as_operator(),
        lambda: eqx_cc.Annealing(seconds=0.1)(eqx_cc.trace(jnp.sin, X).graph),
        lambda: eqx_cc.filter_jacobian(eqx.nn.MLP(2, 2, 2, 1, key=jr.key(0))),
    ],
)
def test_the_last_line_of_a_cell_is_short(make):
    shown = repr(make())
    assert len(shown) < 200 and "\n" not in shown


def test_print_shows_everything():
    explanation = eqx_cc.explain(_entry_by_entry, X)
    assert len(str(explanation).splitlines()) > len(explanation.graph.intermediates)
    assert "JAX forward: agrees" in str(eqx_cc.check_jacobian(jnp.sin, X))


@pytest.mark.parametrize("transform", [*TRANSFORMS, cc_jacobian])
def test_transforms_of_transformed_modules_are_silent(transform):
    """Equinox's advice is for the attributes of a user's modules."""
    batched = jax.vmap(eqx.nn.MLP(2, 2, 2, 1, key=jr.key(0)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert transform(batched).__wrapped__ is batched
