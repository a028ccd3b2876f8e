"""What `test_policy_train` runs in a process of two devices: batches of games and of
lessons are split over them."""

import itertools as it

import jax
import jax.random as jr
import numpy as np
from eqx_cc.policy import GraphPolicy, imitate, Imitation, PPO, Settings, start, train
from eqx_cc.policy._training import imitation as _imitation, train as _train


SETTINGS = Settings(batch=4, smallest=8, largest=12)


def learnt(sharded, how):
    """What is known after an iteration; over how many devices batches were split."""
    seen = []

    def watched(batch):
        batch = sharded(batch)
        leaves = [leaf for leaf in jax.tree.leaves(batch) if hasattr(leaf, "sharding")]
        seen.append({len(leaf.sharding.device_set) for leaf in leaves})
        return batch

    _train.sharded = _imitation.sharded = watched
    training = start(GraphPolicy(4, 1, 0.0, key=jr.key(0)), SETTINGS)
    [(_, metrics)] = it.islice(how(training), 1)
    return metrics[2:6], seen


def main() -> None:
    # Compiling takes far longer than running.
    jax.config.update("jax_disable_most_optimizations", True)
    assert len(jax.devices()) == 2
    split = _train.sharded
    imitation = Imitation(structured=0.0, steps=1, parts=8, most=8)
    for how in (
        lambda training: train(PPO(epochs=1, parts=1), training, SETTINGS),
        lambda training: imitate(imitation, training, SETTINGS),
    ):
        one, alone = learnt(lambda batch: batch, how)
        two, seen = learnt(split, how)
        assert all(2 not in count for count in alone)
        assert seen and all(count == {2} for count in seen), seen
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-5)


if __name__ == "__main__":
    main()
