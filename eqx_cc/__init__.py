"""Exact Jacobians in JAX by cross-country elimination, for Equinox."""

from ._affine import Affine as Affine
from ._automatic import Automatic as Automatic
from ._cache import OrderCache as OrderCache
from ._check import check_jacobian as check_jacobian
from ._cost import (
    AbstractCost as AbstractCost,
    Flops as Flops,
    Multiplications as Multiplications,
    Published as Published,
    Traffic as Traffic,
)
from ._explain import (
    explain as explain,
    Explanation as Explanation,
    Trace as Trace,
    trace as trace,
)
from ._graph import ComputationalGraph as ComputationalGraph
from ._jacobian import (
    cc_jacobian as cc_jacobian,
    filter_hessian as filter_hessian,
    filter_jacobian as filter_jacobian,
    filter_value_and_jacobian as filter_value_and_jacobian,
)
from ._optimise import optimise as optimise
from ._order import Order as Order
from ._ordering import (
    AbstractOrdering as AbstractOrdering,
    Forward as Forward,
    Given as Given,
    MinimalFill as MinimalFill,
    MinimalMarkowitz as MinimalMarkowitz,
    Reverse as Reverse,
)
from ._partial import Partial as Partial
from ._pattern import Pattern as Pattern
from ._report import JacobianReport as JacobianReport
from ._rules import (
    Block as Block,
    BlockBuilder as BlockBuilder,
    Operand as Operand,
    register_rule as register_rule,
)
from ._search import (
    AbstractSearch as AbstractSearch,
    Annealing as Annealing,
    BeamSearch as BeamSearch,
    Exact as Exact,
    RandomisedMarkowitz as RandomisedMarkowitz,
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
    preaccumulate as preaccumulate,
    SmallInverse as SmallInverse,
    SuperLU as SuperLU,
    Woodbury as Woodbury,
)


__version__ = "0.1.0"
