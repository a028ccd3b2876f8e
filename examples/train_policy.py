"""Learning to eliminate: a policy is trained in seconds, and then plays graphs that it
never saw.

It begins as the Markowitz rule, and learns by expert iteration from orders that
annealing found. The policy that comes with the package (`eqx_cc.policy.pretrained`) was
trained in the same way, for longer and on larger graphs.
"""

# %% imports
import itertools as it

import eqx_cc
import jax
import jax.numpy as jnp
import jax.random as jr
from eqx_cc.policy import (
    evaluate,
    GraphPolicy,
    held_out,
    imitate,
    Imitation,
    PolicyOrdering,
    Settings,
    start,
)


# %% train
policy = GraphPolicy(width=16, rounds=2, key=jr.key(0))
settings = Settings(batch=12, smallest=10, largest=16, rate=3e-3)
training = start(policy, settings)
imitation = Imitation(structured=0.0)
for training, metrics in it.islice(imitate(imitation, training, settings), 8):
    pass

# %% judge
graphs = held_out(100, smallest=10, largest=16)
ratios = evaluate(training.policy, graphs)

# %% report
print(f"Annealing: {metrics.ratio:.1%} of the multiplications of greedy Markowitz")
print(f"The policy, on 100 graphs never trained on: {ratios.mean():.1%}")
print(f"Fewer on {(ratios < 1).sum()} of them, more on {(ratios > 1).sum()}")
assert ratios.mean() < 0.99


# %% use
def function(x):
    a = jnp.sin(x[0]) * x[1]
    b = jnp.exp(a) / (x[2] + a)
    return jnp.stack([a * b, b - x[0] * a, jnp.sqrt(b) * x[2]])


jacobian = eqx_cc.filter_jacobian(function, order=PolicyOrdering(training.policy))

# %%
x = jnp.array([0.5, 1.0, 2.0])
assert jnp.allclose(jacobian(x), jax.jacfwd(function)(x), rtol=1e-5)
