"""The weights of the learned rule."""

from __future__ import annotations

from typing import NamedTuple


class RuleWeights(NamedTuple):
    r"""The weights of [`eqx_cc.LearnedRule`][]. With `cost=1` and no others it is the
    Markowitz rule.

    All features but those of fractions are $\log(1 + x)$ of a number $x$, so that they
    serve scalars and arrays of any size.

    **Attributes:**

    - `cost`: of the cost of the elimination under the cost model.
    - `before`, `after`: of the numbers of the edges into the vertex, and out of it.
    - `fill_in`: of the numbers that are stored after the elimination, but not before.
    - `absorbed`: of the numbers that are there already, and are added to.
    - `change`: of the growth of the Markowitz degrees of the neighbours, with its sign.
    - `relative_fill_in`: of the fill-in minus the numbers that go, over the latter.
    - `relative_change`: of the growth over the Markowitz degree of the vertex.
    - `size`: of the numbers that the vertex holds ($\log x$: zero for scalars).
    - `inputs`, `outputs`: of the numbers of the inputs that lead to the vertex, and of
        the outputs that it leads to.
    - `depth`, `height`: of the edges of the longest path to it and from it, over those
        of the longest path of all.

    !!! Example

        ```python
        weights = eqx_cc.RuleWeights(cost=1.0, fill_in=0.5)
        eqx_cc.LearnedRule(weights)(graph)
        ```
    """

    cost: float = 1.0
    before: float = 0.0
    after: float = 0.0
    fill_in: float = 0.0
    absorbed: float = 0.0
    change: float = 0.0
    relative_fill_in: float = 0.0
    relative_change: float = 0.0
    size: float = 0.0
    inputs: float = 0.0
    outputs: float = 0.0
    depth: float = 0.0
    height: float = 0.0


# Found by `policy/_training/evolution.py`; docs/policy-model.md says how.
RULE_WEIGHTS = (
    RuleWeights(
        cost=1.928,
        before=-0.251,
        after=-0.756,
        fill_in=0.011,
        absorbed=1.758,
        change=1.776,
        relative_fill_in=2.763,
        relative_change=0.073,
        size=2.684,
        inputs=-4.678,
        outputs=-4.547,
        depth=0.195,
        height=0.397,
    ),
)
