"""Values at which elimination stops: nothing is accumulated through them.

A value whose derivative cancels in that of the whole need not be differentiated on the
way. `held` marks it in a program, and is gone where that is evaluated: further
derivatives, of the accumulated Jacobian, go through all of it.
"""

import jax
import jax.extend.core as jex


stop_elimination_p = jex.Primitive("held")
stop_elimination_p.def_abstract_eval(lambda aval: aval)


def stop_elimination(x: jax.Array) -> jax.Array:
    """Returns `x`, at which elimination stops; for programs that are being traced."""
    return stop_elimination_p.bind(x)
