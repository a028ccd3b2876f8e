"""Values that are held: nothing is accumulated through them.

What cancels in the derivative of the whole need not be differentiated on the way.
`held` marks it in a program, and is gone where that is evaluated: further derivatives,
of what was accumulated, go through all of it.
"""

import jax
import jax.extend.core as jex


held_p = jex.Primitive("held")
held_p.def_abstract_eval(lambda aval: aval)


def held(x: jax.Array) -> jax.Array:
    """The same, in a program that is being traced."""
    return held_p.bind(x)
