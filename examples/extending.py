"""Joining in: a rule for one's own primitive, an ordering, a policy, a cost model."""

# %% imports
import eqx_cc
import eqx_cc.policy
import jax
import jax.extend as jex
import jax.numpy as jnp
from jax.interpreters import ad, mlir


jax.config.update("jax_enable_x64", True)


# %% primitive
difference_p = jex.core.Primitive("difference")


@difference_p.def_impl
def difference(x):
    return x[1:] - x[:-1]


@difference_p.def_abstract_eval
def _shape(x):
    return x.update(shape=(x.shape[0] - 1,))


def _transpose(cotangent, x):
    return [-jnp.diff(cotangent, prepend=0.0, append=0.0)]


ad.deflinear2(difference_p, _transpose)
mlir.register_lowering(difference_p, mlir.lower_fun(difference, False))


# %% dense
def total_variation(x):
    return jnp.tanh(difference_p.bind(x))


x = jnp.linspace(0.0, 1.0, 6) ** 2


def show():
    block = eqx_cc.cc_jacobian(total_variation, structured=True)(x)
    numbers = block.pattern.num_values
    print(f"{block.structure}: {numbers} numbers for {block.shape}")
    return block.materialise()


print("Without a rule:")
show()


# %% rule
@eqx_cc.register_rule(difference_p)
def _difference(operands, results, params):
    """out[i] = in[i + 1] - in[i]"""
    i, after = eqx_cc.Affine(0, ((0, 1),)), eqx_cc.Affine(1, ((0, 1),))
    sizes = {0: results[0].shape[0]}
    block = eqx_cc.BlockBuilder(operands, 0, results[0])
    block.term([i], [after], sizes, scale=1)
    block.term([i], [i], sizes, scale=-1)
    return [block.block()]


# %% banded
print("With a rule:")
jacobian = show()
error = jnp.max(jnp.abs(jacobian - jax.jacrev(total_variation)(x)))
print(f"Error against jax.jacrev: {error:.0e}\n")


# %% ordering
class Inwards(eqx_cc.AbstractOrdering):
    """From both ends of the graph to its middle."""

    def __call__(self, graph: eqx_cc.ComputationalGraph) -> tuple[int, ...]:
        rest, order = list(graph.intermediates), []
        while rest:
            order.append(rest.pop(-len(order) % 2 - 1))
        return tuple(order)


# %% chain
def chain(x):
    for _ in range(3):
        x = jnp.sin(x) * jnp.sum(x)
    return x


# %% use_ordering
print(eqx_cc.explain(chain, x, order=Inwards()).order)
assert eqx_cc.check_jacobian(chain, x, order=Inwards()).ok


# %% policy
class Shallow(eqx_cc.policy.AbstractPolicy):
    """Prefers the vertices that are nearest to the inputs."""

    def __call__(self, game, state):
        logits = jnp.where(state.remaining, -game.depth, -jnp.inf)
        return logits, jnp.zeros(())


# %% use_policy
ordering = eqx_cc.policy.PolicyOrdering(Shallow())
report = eqx_cc.explain(chain, x, order=ordering)
print(f"{report.plans['chosen'].num_multiplications} multiplications")
graph = eqx_cc.policy.random_graph(seed=0, largest=12)
[ratio] = eqx_cc.policy.evaluate(Shallow(), [graph])
print(f"On a random graph: {ratio:.2f} times what Markowitz takes")


# %% cost
class Stored(eqx_cc.AbstractCost):
    """The numbers in the two blocks that are multiplied."""

    def __call__(self, old, left, right):
        return left.num_values + right.num_values


order = eqx_cc.Annealing(seconds=0.5, cost=Stored())(graph)
print(f"{order.cost} by {order.cost_model}")
