"""Exact Jacobians in JAX by cross-country elimination, for Equinox."""

from ._api.check import check_jacobian as check_jacobian
from ._api.check_report import JacobianReport as JacobianReport
from ._api.divergence import divergence as divergence, laplacian as laplacian
from ._api.explain import (
    explain as explain,
    Explanation as Explanation,
    Trace as Trace,
    trace as trace,
)
from ._api.hessian import (
    filter_hessian as filter_hessian,
    filter_value_grad_and_hessian as filter_value_grad_and_hessian,
)
from ._api.jacobian import (
    cc_jacobian as cc_jacobian,
    filter_jacobian as filter_jacobian,
    filter_value_and_jacobian as filter_value_and_jacobian,
)
from ._api.optimise import optimise as optimise
from ._blocks.partial import Partial as Partial
from ._graph.graph import ComputationalGraph as ComputationalGraph
from ._orders.cache import OrderCache as OrderCache
from ._orders.cost import (
    AbstractCost as AbstractCost,
    Flops as Flops,
    Multiplications as Multiplications,
    Published as Published,
    Traffic as Traffic,
)
from ._orders.lookup import Automatic as Automatic
from ._orders.order import Order as Order
from ._orders.orderings import (
    AbstractOrdering as AbstractOrdering,
    Forward as Forward,
    Given as Given,
    MinimalFill as MinimalFill,
    MinimalMarkowitz as MinimalMarkowitz,
    Reverse as Reverse,
)
from ._orders.rule.learned_rule import LearnedRule as LearnedRule
from ._orders.rule.weights import RuleWeights as RuleWeights
from ._orders.search.base import AbstractSearch as AbstractSearch
from ._orders.search.searches import (
    Annealing as Annealing,
    BeamSearch as BeamSearch,
    Exact as Exact,
    RandomisedMarkowitz as RandomisedMarkowitz,
)
from ._rules import (
    Block as Block,
    BlockBuilder as BlockBuilder,
    Operand as Operand,
    register_rule as register_rule,
)
from ._solve import (
    Arrowhead as Arrowhead,
    Banded as Banded,
    BlockDiagonal as BlockDiagonal,
    BlockTridiagonal as BlockTridiagonal,
    CCChord as CCChord,
    EliminationSolver as EliminationSolver,
    jacobian_operator as jacobian_operator,
    JacobianOperator as JacobianOperator,
    KLU as KLU,
    preaccumulate as preaccumulate,
    SmallInverse as SmallInverse,
    SuperLU as SuperLU,
    Woodbury as Woodbury,
)
from ._sparsity.pattern import Pattern as Pattern
from ._sparsity.positions.affine import Affine as Affine


__version__ = "0.1.0"
