"""Where in the user's code an equation comes from."""

from __future__ import annotations

import jax.extend.core as jex


def place(eqn: jex.JaxprEqn) -> str:
    """`"file:line (function)"`, or an empty string if JAX does not say."""
    try:
        from jax._src.source_info_util import summarize

        return summarize(eqn.source_info)
    except Exception:  # a private helper of JAX, which may change
        return ""
