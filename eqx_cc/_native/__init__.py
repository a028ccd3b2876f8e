"""Programs of scalars as one call that XLA compiles to one native function.

On CPU, XLA runs a compiled program operation by operation; where these are of single
numbers, starting them takes nearly all of the time. An attribute of a call, which XLA
uses for its own small loops, has the whole call compiled as one function.
"""

from ._call import (
    Layout as Layout,
    native as native,
    native_p as native_p,
    NativeCall as NativeCall,
)
from ._function import (
    native_function as native_function,
    NativeFunction as NativeFunction,
)
from ._inverse import inverse as inverse
