"""Small arrays as scalars: a program whose variables are single numbers.

In a program of arrays, a 4x4 transform with nine zeros costs as much as any 4x4 matrix.
In one of scalars, entries that are 0 or 1 are constants, and cost nothing; moving
entries about (indexing, stacking, transposing) is no equation at all.
"""

from ._depends import dependences as dependences
from ._entries import entry as entry
from ._expand import (
    MAX_EQUATIONS as MAX_EQUATIONS,
    NotScalar as NotScalar,
    scalarise as scalarise,
    ScalarProgram as ScalarProgram,
)
