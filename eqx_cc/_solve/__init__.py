"""Solvers: linear systems and root finds of which elimination finds the structure."""

from ._bordered import (
    Arrowhead as Arrowhead,
    SmallInverse as SmallInverse,
    SuperLU as SuperLU,
    Woodbury as Woodbury,
)
from ._chord import CCChord as CCChord
from ._named import (
    Banded as Banded,
    BlockDiagonal as BlockDiagonal,
    BlockTridiagonal as BlockTridiagonal,
)
from ._operator import (
    jacobian_operator as jacobian_operator,
    JacobianOperator as JacobianOperator,
)
from ._preaccumulate import preaccumulate as preaccumulate
from ._solver import EliminationSolver as EliminationSolver
