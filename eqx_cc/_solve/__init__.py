"""Solvers: linear systems and root finds of which elimination finds the structure.

- In: operators of `lineax`, functions of `optimistix` and `diffrax`. Out: solutions.
- `matrix` has the entries of a Jacobian, `factorisations` what is solved with, `select`
  the factorisation that suits a structure, `named` the solvers that state one.
- Imports `_api`, `_strategy`, `_scalarise`, `_blocks` and `_jaxpr`.
"""

from .chord import CCChord as CCChord
from .elimination_solver import EliminationSolver as EliminationSolver
from .named.bands import (
    Banded as Banded,
    BlockDiagonal as BlockDiagonal,
    BlockTridiagonal as BlockTridiagonal,
)
from .named.bordered import (
    Arrowhead as Arrowhead,
    SmallInverse as SmallInverse,
    SuperLU as SuperLU,
    Woodbury as Woodbury,
)
from .operator import (
    jacobian_operator as jacobian_operator,
    JacobianOperator as JacobianOperator,
)
from .preaccumulate import preaccumulate as preaccumulate
