"""Solvers: linear systems and root finds of which elimination finds the structure."""

from ._chord import CCChord as CCChord
from ._solver import EliminationSolver as EliminationSolver
