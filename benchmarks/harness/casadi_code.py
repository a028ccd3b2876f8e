"""C code of CasADi's for a Jacobian, compiled and loaded.

??? cite "Reference"

    J. A. E. Andersson, J. Gillis, G. Horn, J. B. Rawlings and M. Diehl, *CasADi: a
    software framework for nonlinear optimization and optimal control*, Mathematical
    Programming Computation 11 (2019) 1-36.
"""

import ctypes
import importlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

import jax

from .casadi_expressions import expressions
from .timing import Cost


FLAGS = "-O3", "-march=native", "-fno-fast-math", "-fPIC", "-shared"
# More than this many take the C compiler minutes.
MAX_OPERATIONS = 20_000

# The loop is that of `timing`; the matrix is written row by row.
_DRIVER = """
#include "jacobian.c"

static void evaluate(const double *x, double *jac) {
  static casadi_int iw[SZ_IW + 1];
  static double w[SZ_W + 1];
  const double *arg[SZ_ARG + 1] = {x};
  double *res[SZ_RES + 1] = {jac};
  jacobian(arg, res, iw, w, 0);
}

void loop(long k, const double *start, double *x, double *jac, double eps) {
  for (long i = 0; i < ROWS * COLUMNS; ++i) jac[i] = 0;
  for (long step = 0; step < k; ++step) {
    double sums[COLUMNS] = {0};
    for (long i = 0; i < ROWS; ++i)
      for (long j = 0; j < COLUMNS; ++j) sums[j] += jac[i * COLUMNS + j];
    for (long j = 0; j < COLUMNS; ++j) x[j] = start[j] + eps * sums[j];
    evaluate(x, jac);
  }
}

void batch(long size, const double *xs, double *jacs) {
  for (long b = 0; b < size; ++b)
    evaluate(xs + b * COLUMNS, jacs + b * ROWS * COLUMNS);
}
"""


def library(fun: Callable, x: jax.Array) -> tuple[ctypes.CDLL, Cost]:
    """The functions `loop` and `batch` of the Jacobian of a function of a vector, and
    what it took to have them: "compile" is the writing of the code as well."""
    casadi: Any = importlib.import_module("casadi")
    compiler = shutil.which(os.environ.get("CC", "gcc")) or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("there is no C compiler")
    started = time.perf_counter()
    symbols, y = expressions(fun, x)
    # The transpose is written column by column, that is, the Jacobian row by row.
    result = casadi.densify(casadi.jacobian(y, symbols).T)
    jacobian = casadi.Function("jacobian", [symbols], [result], {"cse": True})
    operations = jacobian.n_instructions()
    if operations > MAX_OPERATIONS:
        raise RuntimeError(f"{operations:,} operations are too many to write code for")
    traced = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        code = _built(jacobian, y.shape[0], x.size, compiler, pathlib.Path(folder))
    cost = Cost(traced - started, 0.0, time.perf_counter() - traced)
    cost.temp_bytes, cost.output_bytes = 8 * jacobian.sz_w(), 8 * y.shape[0] * x.size
    return code, cost


def _built(
    fun: Any, rows: int, columns: int, compiler: str, folder: pathlib.Path
) -> ctypes.CDLL:
    casadi: Any = importlib.import_module("casadi")
    generator = casadi.CodeGenerator("jacobian.c")
    generator.add(fun)
    generator.generate(f"{folder}{os.sep}")
    source, target = folder / "driver.c", folder / "driver.so"
    source.write_text(_DRIVER)
    sizes = {
        "ROWS": rows,
        "COLUMNS": columns,
        "SZ_ARG": fun.sz_arg(),
        "SZ_RES": fun.sz_res(),
        "SZ_IW": fun.sz_iw(),
        "SZ_W": fun.sz_w(),
    }
    defined = [f"-D{key}={value}" for key, value in sizes.items()]
    command = [compiler, *FLAGS, *defined, str(source), "-o", str(target), "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    code = ctypes.CDLL(str(target))
    count, pointer = ctypes.c_long, ctypes.c_void_p
    code.loop.argtypes = count, pointer, pointer, pointer, ctypes.c_double
    code.batch.argtypes = count, pointer, pointer
    code.loop.restype = code.batch.restype = None
    return code
