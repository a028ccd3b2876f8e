"""Places in the user's code that equations are from.

JAX keeps this in `jax._src` alone. Without it places are empty; nothing else is lost.
"""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from pathlib import Path

import jax.extend.core as jex


try:
    from jax._src.source_info_util import current_name_stack, user_context, user_frames
except ImportError:
    current_name_stack = user_context = user_frames = None

_PACKAGE = f"{Path(__file__).parents[1]}/"


def place(eqn: jex.JaxprEqn) -> str:
    """`"file:line:column (function)"`, or an empty string if JAX does not say. Frames
    of this package are left out: an equation of a Jacobian is where that is called."""
    if user_frames is None:
        return ""
    for frame in user_frames(eqn.source_info.traceback):
        if not frame.file_name.startswith(_PACKAGE):
            at = f"{frame.file_name}:{frame.start_line}:{frame.start_column}"
            return f"{at} ({frame.function_name})"
    return ""


def placed_at(eqn: jex.JaxprEqn) -> AbstractContextManager:
    """Gives what is traced within it the place of an equation."""
    if user_context is None or current_name_stack is None:
        return contextlib.nullcontext()
    stack = current_name_stack()
    return user_context(eqn.source_info.traceback, name_stack=stack)
