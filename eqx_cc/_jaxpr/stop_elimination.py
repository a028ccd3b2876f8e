"""Values at which elimination stops: nothing is accumulated through them.

A value whose derivative cancels in that of the whole need not be differentiated on the
way. `held` marks it in a program, and is gone where that is evaluated: further
derivatives, of the accumulated Jacobian, go through all of it.
"""

import jax
import jax.extend.core as jex


held_p = jex.Primitive("held")
held_p.def_abstract_eval(lambda aval: aval)


def held(x: jax.Array) -> jax.Array:
    """Returns `x`, at which elimination stops; for programs that are being traced."""
    return held_p.bind(x)
