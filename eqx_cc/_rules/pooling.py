"""Rules for what selects one element of each window of an array: the derivatives of a
maximum or minimum of windows.

With `k` for the place in window `y`, the block is `mask[y, k]` at the positions of the
windows. JAX itself says which element it selects, of those that are equal and where
there are NaNs, as each of the two primitives has its own answer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives as p

from .._blocks.arrays import take
from .._sparsity.positions.table import Form, on_grid, tabulated
from .._sparsity.term import Take
from .registry import one_term, register_rule
from .windows import Windows, windows_of


# Windows of more groups that do not overlap are not looked at.
_MAX_GROUPS = 64


@register_rule(p.select_and_gather_add_p)
def _select_and_gather_add(operands, results, params):
    """out[y] = in[position(y, k)] for the k that operand 1 selects"""
    if operands[1].linear:
        return None
    windows = windows_of(operands[0].shape, results[0].shape, params)
    largest = 2 ** jnp.finfo(results[0].dtype).nmant  # Up to it, integers are exact.
    if not (windows and windows.slides) or math.prod(_spans(windows)) > largest:
        return None

    def mask(arrays):
        codes = 1 + _codes(windows, np.indices(operands[0].shape, sparse=True))
        codes = jnp.broadcast_to(codes, operands[0].shape).astype(operands[0].dtype)
        chosen = p.select_and_gather_add_p.bind(codes, arrays[1], **params)
        return _places_of(windows, chosen.astype(np.int32))

    term: dict[str, Any] = dict(value=sorted(windows.sizes), read=mask, selection=True)
    forms = windows.window, windows.position, windows.sizes
    return [one_term(operands, 0, results[0], *forms, **term)]


@register_rule(p.select_and_scatter_add_p)
def _select_and_scatter_add(operands, results, params):
    """out[position(y, k)] += in[y] for the k that operand 1 selects"""
    if operands[1].linear:
        return None
    windows = windows_of(results[0].shape, operands[0].shape, params)
    if not (windows and windows.slides) or math.prod(_groups(windows)) > _MAX_GROUPS:
        return None

    def mask(arrays):
        scatter = lambda source: p.select_and_scatter_add_p.bind(  # noqa: E731
            source, arrays[1], **params
        )
        sources = jnp.asarray(_sources(windows), operands[0].dtype)
        selected = jax.vmap(scatter)(sources) != 0
        return _selected_places(windows, selected)

    term: dict[str, Any] = dict(value=sorted(windows.sizes), read=mask, mask=True)
    forms = windows.position, windows.window, windows.sizes
    return [one_term(operands, 0, results[0], *forms, **term)]


#
# Gathers: an array of codes is read, which tell the elements of a window apart
#


def _spans(windows: Windows) -> list[int]:
    """The number of positions from the first to the last of a window, by axis."""
    spans = [(s.width - 1) * s.dilation // s.gap + 1 for s in windows.slides]
    return [min(span, s.size) for span, s in zip(spans, windows.slides)]


def _codes(windows: Windows, positions: Sequence[np.ndarray]) -> Any:
    """The code of the element at positions along each axis, which broadcast.

    With windows of two by two, the elements of each have the codes 0 to 3: those of
    a row are `0, 1, 0, 1, ...`, and of the next `2, 3, 2, 3, ...`.
    """
    code: Any = jnp.zeros((1,) * positions[0].ndim, np.int32)
    for position, span in zip(positions, _spans(windows)):
        code = code * span + np.asarray(position % span, np.int32)
    return code


def _places_of(windows: Windows, chosen: jax.Array) -> jax.Array:
    """True at the place of each window whose code, plus one, is the chosen one; zero
    stands for none."""
    grid = dict(sorted(windows.sizes.items()))
    chosen = _read_on(grid, chosen, windows.window)
    codes = _codes(windows, [on_grid(form, grid) for form in windows.position])
    return jnp.broadcast_to(chosen == 1 + codes, tuple(grid.values()))


#
# Scatters: windows that do not overlap are looked at together
#


def _groups(windows: Windows) -> list[int]:
    """Along each axis, the least distance of windows that do not overlap."""
    return [min(-(-s.width // s.stride), s.steps) for s in windows.slides]


def _sources(windows: Windows) -> np.ndarray:
    """For each group of windows that do not overlap, an array with ones at these."""
    shape = tuple(slide.steps for slide in windows.slides)
    groups = _groups(windows)
    sources = np.zeros((math.prod(groups), *shape), np.int8)
    for number, first in enumerate(itertools.product(*map(range, groups))):
        sources[(number, *(slice(f, None, n) for f, n in zip(first, groups)))] = 1
    return sources


def _selected_places(windows: Windows, selected: jax.Array) -> jax.Array:
    """The element of each place of a window, in the array of the window's group."""
    grid = dict(sorted(windows.sizes.items()))
    number: Any = np.zeros((1,) * len(grid), np.int64)
    for form, count in zip(windows.window, _groups(windows)):
        number = number * count + on_grid(form, grid) % count
    sizes = tuple(grid.values())
    group = tabulated(np.broadcast_to(number, sizes), tuple(grid))
    selected = _read_on(grid, selected, (group, *windows.position))
    return jnp.broadcast_to(selected, sizes)


def _read_on(grid: dict[int, int], array: jax.Array, forms: Sequence[Form]):
    """An array at the positions of forms, with an axis for each index of a grid, of
    length one where no form depends on it."""
    labels = sorted({i for form in forms for i in form.indices})
    recipe = Take(tuple(forms), tuple(labels), tuple(grid[i] for i in labels))
    shape = [n if i in labels else 1 for i, n in grid.items()]
    return lax.reshape(take(array, recipe), shape)
