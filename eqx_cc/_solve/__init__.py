"""Solvers of linear systems and root finds, by the structure that elimination finds.

- In: operators of `lineax`, functions of `optimistix` and `diffrax`. Out: solutions.
- Two layers: a solver (`elimination_solver`, `named`, with the base in `direct`) builds
  a matrix (`system`, `matrix`), and solves by a factorisation (`factorisations`), which
  `select` finds. `chord`, `operator` and `preaccumulate` are the other doors.
- Imports `_api`, `_strategy`, `_scalarise`, `_orders`, `_blocks`, `_sparsity` and
  `_jaxpr`.
"""

from .chord import CCChord as CCChord
from .elimination_solver import EliminationSolver as EliminationSolver
from .named.arrowhead import Arrowhead as Arrowhead
from .named.banded import Banded as Banded
from .named.block_diagonal import BlockDiagonal as BlockDiagonal
from .named.block_tridiagonal import BlockTridiagonal as BlockTridiagonal
from .named.klu import KLU as KLU
from .named.small_inverse import SmallInverse as SmallInverse
from .named.superlu import SuperLU as SuperLU
from .named.woodbury import Woodbury as Woodbury
from .operator import (
    jacobian_operator as jacobian_operator,
    JacobianOperator as JacobianOperator,
)
from .preaccumulate import preaccumulate as preaccumulate
