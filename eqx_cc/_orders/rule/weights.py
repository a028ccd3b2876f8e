"""The weights of the learned rule."""

from __future__ import annotations

from typing import NamedTuple


class RuleWeights(NamedTuple):
    r"""The weights of [`eqx_cc.LearnedRule`][]. With `cost=1` and no others it is the
    Markowitz rule.

    All features but those of fractions are $\log(1 + x)$ of a number $x$, so that they
    serve scalars and arrays of any size. In all but the cost, known coefficients count
    as numbers that are stored: each becomes unknown when it is multiplied by one that
    is.

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


# Each was trained beside the others, as the model card of the documentation says.
_SMALL_GRAPHS = (
    RuleWeights(
        cost=2.28,
        before=-0.063,
        after=-0.443,
        fill_in=0.231,
        absorbed=0.967,
        change=2.247,
        relative_fill_in=7.409,
        relative_change=0.666,
        size=3.496,
        inputs=-8.843,
        outputs=-5.331,
        depth=0.731,
        height=-0.021,
    ),
    RuleWeights(
        cost=-1.747,
        before=-5.274,
        after=-1.353,
        fill_in=6.26,
        absorbed=3.641,
        change=6.507,
        relative_fill_in=1.532,
        relative_change=-1.299,
        size=-7.018,
        inputs=-13.806,
        outputs=-12.836,
        depth=0.847,
        height=2.014,
    ),
    RuleWeights(
        cost=-3.932,
        before=0.265,
        after=-0.493,
        fill_in=9.877,
        absorbed=2.477,
        change=0.4,
        relative_fill_in=7.78,
        relative_change=-0.468,
        size=0.245,
        inputs=-8.297,
        outputs=-8.608,
        depth=0.367,
        height=6.244,
    ),
)

# Trained on graphs of more vertices than this alone: there one game takes long.
_MAX_SMALL = 500
_LARGE_GRAPHS = (
    RuleWeights(
        cost=1.699,
        before=0.262,
        after=-0.468,
        fill_in=0.359,
        absorbed=1.249,
        change=4.295,
        relative_fill_in=7.168,
        relative_change=1.982,
        size=1.572,
        inputs=-11.438,
        outputs=-8.47,
        depth=0.809,
        height=0.138,
    ),
)


def packaged_weights(num_vertices: int = 0) -> tuple[RuleWeights, ...]:
    """The sets of weights for a graph of so many vertices to eliminate."""
    return _SMALL_GRAPHS if num_vertices <= _MAX_SMALL else _LARGE_GRAPHS
