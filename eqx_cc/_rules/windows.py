"""Rules for what slides a window over an array: convolutions, and sums of windows.

Along each spatial axis, window `y` reads `stride * y + dilation * k - padding` at its
place `k`. Where no place is in the padding, that is an affine form; else the pairs
`(y, k)` inside of the array are listed. With a window of 3 and a padding of 1, an array
of 2 elements is read at

    (y, k) = (0, 1), (0, 2), (1, 0), (1, 1)    positions 0, 1, 0, 1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.extend.core import primitives as p

from .._blocks.arrays import take
from .._sparsity.positions.affine import Affine, single
from .._sparsity.positions.table import Form, tabulated
from .._sparsity.term import Take
from .registry import one_term, register_rule


class _Slide(NamedTuple):
    """A window that slides along one axis; `gap - 1` zeros are between elements."""

    size: int
    width: int
    steps: int
    stride: int
    dilation: int
    padding: int
    gap: int

    def forms(self, first: int) -> tuple[Form, Form, Form, dict[int, int]]:
        """The window, the position and the place in the window, over indices from
        `first` on, and the sizes of these."""
        windows = np.arange(self.steps)[:, None]
        places = np.arange(self.width)
        at = self.stride * windows + self.dilation * places - self.padding
        position, rest = np.divmod(at, self.gap)
        inside = (rest == 0) & (position >= 0) & (position < self.size)
        if inside.all():
            sizes = {first: self.steps, first + 1: self.width}
            return (
                single(first) if self.steps > 1 else Affine(0),
                tabulated(position, [first, first + 1]),
                single(first + 1) if self.width > 1 else Affine(0),
                sizes,
            )
        window, place = np.nonzero(inside)
        columns = window, position[inside], place
        listed = (tabulated(column, [first]) for column in columns)
        return *listed, {first: len(window)}  # pyright: ignore[reportReturnType]


@register_rule(p.conv_general_dilated_p)
def _conv(operands, results, params):
    """out[b, g o, y] = sum_{i, k} in[b, g i, position(y, k)] * kernel[g o, i, k]

    The groups `g` are of features, or of the batch: `in[g b, i, position(y, k)]`.
    """
    if operands[0].linear == operands[1].linear:
        return None
    if 0 in (*operands[0].shape, *operands[1].shape, *results[0].shape):
        return None
    shapes = operands[0].shape, operands[1].shape, results[0].shape
    numbers, of_batch = params["dimension_numbers"], params["batch_group_count"]
    groups = max(of_batch, params["feature_group_count"])
    specs = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    num_out, num_in = (shapes[1][axis] // n for axis, n in zip(specs[1], (groups, 1)))
    size = shapes[2][specs[2][0]]
    batch, feature_in = single(0), single(3)
    feature_out = Affine(0, ((1, num_out), (2, 1)))
    sizes = {0: size, 1: groups, 2: num_out, 3: num_in}
    grouped: list[Form] = [batch, Affine(0, ((1, num_in), (3, 1)))]
    if of_batch > 1:
        grouped = [Affine(0, ((1, size), (0, 1))), feature_in]
    axes: tuple[list[Form], ...] = (
        grouped,
        [feature_out, feature_in],
        [batch, feature_out],
    )
    for number, slide in enumerate(_slides(shapes, specs, params)):
        window, position, place, more = slide.forms(4 + 2 * number)
        sizes |= more
        for forms, form in zip(axes, (position, place, window)):
            forms.append(form)
    lhs, rhs, out = (_placed(forms, spec) for forms, spec in zip(axes, specs))
    linear = 0 if operands[0].linear else 1
    factor, inp = (rhs, lhs) if linear == 0 else (lhs, rhs)
    read, value = _factors(factor, 1 - linear, sizes)
    term: dict[str, Any] = dict(value=value, read=read)
    return [one_term(operands, linear, results[0], out, inp, sizes, **term)]


def _slides(shapes, specs, params) -> list[_Slide]:
    return [
        _Slide(
            shapes[0][specs[0][2 + n]],
            shapes[1][specs[1][2 + n]],
            shapes[2][specs[2][2 + n]],
            params["window_strides"][n],
            params["rhs_dilation"][n],
            low,
            params["lhs_dilation"][n],
        )
        for n, (low, _) in enumerate(params["padding"])
    ]


def _placed(forms: Sequence[Form], spec: Sequence[int]) -> list[Form]:
    """Forms for the axes of an array, from those of batch (or output feature), feature
    and space, whose axes are `spec`."""
    return [forms[spec.index(axis)] for axis in range(len(spec))]


def _factors(forms: Sequence[Form], position: int, sizes: dict[int, int]):
    """How an array is read at the positions of forms, and the indices of these."""
    indices = sorted({i for form in forms for i in form.indices})
    recipe = Take(tuple(forms), tuple(indices), tuple(sizes[i] for i in indices))
    return (lambda arrays: take(jnp.asarray(arrays[position]), recipe)), indices


class Windows(NamedTuple):
    """Windows that slide along all axes of an array: forms of their place in the result
    and of the positions that they read, over indices of these sizes."""

    slides: list[_Slide]
    window: list[Form]
    position: list[Form]
    sizes: dict[int, int]


def windows_of(
    shape: Sequence[int], steps: Sequence[int], params: Mapping[str, Any]
) -> Windows | None:
    """The windows of an equation that reads an array of `shape`; None without any."""
    ones = (1,) * len(shape)
    dimensions = zip(
        shape,
        params["window_dimensions"],
        steps,
        params["window_strides"],
        params.get("window_dilation", ones),
        (low for low, _ in params["padding"]),
        params.get("base_dilation", ones),
    )
    windows = Windows([_Slide(*each) for each in dimensions], [], [], {})
    for axis, slide in enumerate(windows.slides):
        if 0 in (slide.size, slide.width, slide.steps):
            return None
        window, position, _, more = slide.forms(2 * axis)
        windows.window.append(window)
        windows.position.append(position)
        windows.sizes.update(more)
    return windows


@register_rule(p.reduce_window_sum_p)
def _reduce_window_sum(operands, results, params):
    """out[y] = sum_k in[position(y, k)]"""
    windows = windows_of(operands[0].shape, results[0].shape, params)
    if windows is None:
        return None
    forms = windows.window, windows.position, windows.sizes
    return [one_term(operands, 0, results[0], *forms)]
