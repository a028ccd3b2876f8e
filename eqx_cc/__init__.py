"""Exact Jacobians in JAX by cross-country elimination, for Equinox."""

from ._affine import Affine as Affine
from ._check import check_jacobian as check_jacobian
from ._explain import explain as explain, trace as trace
from ._graph import ComputationalGraph as ComputationalGraph
from ._jacobian import (
    cc_jacobian as cc_jacobian,
    filter_hessian as filter_hessian,
    filter_jacobian as filter_jacobian,
    filter_value_and_jacobian as filter_value_and_jacobian,
)
from ._ordering import (
    AbstractOrdering as AbstractOrdering,
    Forward as Forward,
    Given as Given,
    MinimalMarkowitz as MinimalMarkowitz,
    Reverse as Reverse,
)
from ._partial import Partial as Partial
from ._pattern import Pattern as Pattern
from ._rules import (
    Block as Block,
    BlockBuilder as BlockBuilder,
    Operand as Operand,
    register_rule as register_rule,
)


__version__ = "0.1.0"
