"""Properties of the primitives of JAX, in one table.

A new primitive is a row here, and a rule in `_rules` if it is linear and its structure
is worth stating. Without either it is still exact: its block is dense.
"""

from __future__ import annotations

from typing import NamedTuple


class Facts(NamedTuple):
    """A row of the table.

    - `kind`: "elementwise" (each entry of the result is the same function of those of
      the operands), "loop" (control flow), "call" (only groups equations),
      "custom_jvp" or "custom_vjp" (has a derivative of its own), or "array".
    - `makes_indices`: evaluated while tracing where its operands are known integers.
    - `time`: the class by which `_strategy.time_model` estimates how long an equation
      takes; `_TIMES` has all of them.
    - `weight`: multiplications that one entry takes, as an equation of scalars.
    """

    kind: str = "array"
    makes_indices: bool = False
    time: str = "fuse"
    weight: int = 1


_TIMES = (
    "convolve factorise fetch free fuse product reduce scan scatter sparse transform "
    "window"
).split()

# JAX 0.10 to 0.12. The columns are those of `Facts`, and then the names:
# kind       index  time       weight
_TABLE = """
elementwise  index  fuse       1   add and clamp eq ge gt le lt max min mul ne not or
elementwise  index  fuse       1   select_n sign sub xor
elementwise  index  fuse       4   div rem
elementwise  index  fuse       0   neg
elementwise  index  free       1   convert_element_type
elementwise  index  free       0   copy
elementwise  -      fuse       1   abs add_any ceil floor integer_pow is_finite mulhi
elementwise  -      fuse       1   nextafter round shift_left shift_right_arithmetic
elementwise  -      fuse       1   shift_right_logical square
elementwise  -      fuse       2   one_minus_square
elementwise  -      fuse       4   rsqrt sqrt
elementwise  -      fuse       32  acos acosh asin asinh atan atan2 atanh cbrt cos cosh
elementwise  -      fuse       32  digamma erf erf_inv erfc exp exp2 expm1 lgamma log
elementwise  -      fuse       32  log1p log2 logistic pow sin sinh tan tanh
array        index  free       0   reshape squeeze
array        index  free       1   broadcast_in_dim iota
array        -      free       0   stop_gradient
array        index  fuse       0   slice
array        index  fuse       1   pad rev split stack tile unstack
array        index  fetch      1   call_hi_primitive concatenate dynamic_slice gather
array        index  fetch      1   sort transpose
array        index  reduce     1   cumsum reduce_sum
array        -      fuse       1   approx_top_k bessel_i0e bessel_i1e complex conj
array        -      fuse       1   bitcast_convert_type clz igamma igamma_grad_a igammac
array        -      fuse       1   imag optimization_barrier polygamma polynomial
array        -      fuse       1   population_count real regularized_incomplete_beta
array        -      fuse       1   top_k zeta
array        index  reduce     1   argmax argmin reduce_and reduce_max reduce_min
array        index  reduce     1   reduce_or
array        -      reduce     1   reduce reduce_precision reduce_prod reduce_xor
array        -      scan       1   cumlogsumexp cummax cummin cumprod
array        index  scatter    1   dynamic_update_slice scatter scatter-add
array        -      scatter    1   scatter-max scatter-min scatter-mul scatter-sub
array        -      window     1   reduce_window reduce_window_max reduce_window_min
array        -      window     1   reduce_window_sum select_and_gather_add
array        -      window     1   select_and_scatter select_and_scatter_add
array        -      product    1   dot_general
array        -      sparse     1   bcoo_dot_general bcsr_dot_general
array        -      convolve   1   conv_general_dilated
array        -      transform  1   fft
array        -      factorise  1   cholesky custom_linear_solve eig eigh hessenberg
array        -      factorise  1   householder_product lu qr schur svd
array        -      factorise  1   triangular_solve tridiagonal tridiagonal_solve
loop         -      fuse       1   cond scan while
call         -      fuse       1   closed_call jit native_call preaccumulated remat2
custom_jvp   -      fuse       1   custom_jvp_call
custom_vjp   -      fuse       1   custom_lin custom_vjp_call
"""


def _rows() -> dict[str, Facts]:
    table = {}
    for row in filter(None, _TABLE.split("\n")):
        kind, index, time, weight, *names = row.split()
        assert time in _TIMES, time
        table |= dict.fromkeys(names, Facts(kind, index == "index", time, int(weight)))
    return table


FACTS = _rows()
_DEFAULT = Facts()


def facts(name: str) -> Facts:
    """The row of a primitive; one that has none is just a function of arrays."""
    return FACTS.get(name, _DEFAULT)


def is_elementwise(name: str) -> bool:
    """True if each entry of the result is the same function of the operands' entries.

    `add([a, b], [c, d]) = [a + c, b + d]`, but not `sort`.
    """
    return facts(name).kind == "elementwise"
