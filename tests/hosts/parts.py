"""Our parts in place of the hosts', in what the hosts' tests import.

What we and the hosts import of each other stays as it is: the tests get a module like
their own, in which some names are others. So do defaults, wherever the host has them.
"""

import functools as ft
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

import diffrax
import equinox as eqx
import eqx_cc
import jax
import lineax as lx
import optimistix


class Uses:
    """How often our parts have been called."""

    count = 0


def counted(function: Callable) -> Callable:
    """The function, whose calls are counted."""

    @ft.wraps(function)
    def counting(*args, **kwargs):
        Uses.count += 1
        return function(*args, **kwargs)

    return counting


class _Module(types.ModuleType):
    """A module with other objects under some of its names."""

    def __init__(self, module: types.ModuleType, names: dict[str, Any]):
        super().__init__(module.__name__, module.__doc__)
        self.__dict__.update(vars(module) | names)
        self._module = module

    def __getattr__(self, name: str):
        return getattr(self.__dict__["_module"], name)


def _replace(module: types.ModuleType, **names: Any) -> None:
    sys.modules[module.__name__] = _Module(module, names)


#
# Defaults
#


def _replace_defaults(package: types.ModuleType, replaced: Callable[[Any], Any]):
    """Applies `replaced` to the default of every argument and field of a package."""
    prefix = package.__name__
    modules = [m for n, m in sys.modules.items() if n.split(".")[0] == prefix]
    for item in {id(x): x for m in modules for x in vars(m).values()}.values():
        if not getattr(item, "__module__", "").startswith(prefix):
            continue
        if inspect.isclass(item):
            _replace_in_class(item, replaced)
        elif inspect.isfunction(item):
            _replace_in_function(item, replaced)


def _replace_in_class(cls: type, replaced: Callable[[Any], Any]) -> None:
    for field in getattr(cls, "__dataclass_fields__", {}).values():
        default = replaced(field.default)
        if default is not field.default:
            field.default = default
            if field.name in vars(cls):
                setattr(cls, field.name, default)
    for method in vars(cls).values():
        method = inspect.unwrap(getattr(method, "method", method))
        if inspect.isfunction(method):
            _replace_in_function(method, replaced)


def _replace_in_function(function, replaced: Callable[[Any], Any]) -> None:
    function = inspect.unwrap(function)
    if function.__defaults__:
        function.__defaults__ = tuple(map(replaced, function.__defaults__))
    if function.__kwdefaults__:
        items = function.__kwdefaults__.items()
        function.__kwdefaults__ = {name: replaced(x) for name, x in items}


#
# Linear solvers
#

_DIRECT = (
    lx.AutoLinearSolver,
    lx.Cholesky,
    lx.Diagonal,
    lx.LU,
    lx.QR,
    lx.SVD,
    lx.Triangular,
    lx.Tridiagonal,
)


class _Eliminating:
    """In place of a class of solvers: ours, with one of the class inside."""

    def __init__(self, cls: type):
        self.cls = cls

    def __call__(self, *args, **kwargs):
        return eqx_cc.EliminationSolver(inner=self.cls(*args, **kwargs))

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(getattr(instance, "inner", instance), self.cls)


def _eliminating(default: Any) -> Any:
    if type(default) in _DIRECT:
        return eqx_cc.EliminationSolver(inner=default)
    return default


def _of_lineax() -> None:
    eqx_cc.EliminationSolver.init = counted(eqx_cc.EliminationSolver.init)
    default = _eliminating(lx.AutoLinearSolver(well_posed=True))

    def linear_solve(operator, vector, solver=default, **kwargs):
        return lx.linear_solve(operator, vector, solver, **kwargs)

    solvers = {cls.__name__: _Eliminating(cls) for cls in _DIRECT}
    _replace(lx, linear_solve=linear_solve, **solvers)


def _of_optimistix() -> None:
    _replace_defaults(optimistix, _eliminating)
    _of_lineax()


#
# Root finders
#


def _chord(default: Any) -> Any:
    """That of a solver of diffrax, whose tolerances are those of its steps."""
    if type(default) is not diffrax.VeryChord:
        return default
    if isinstance(default.rtol, float):
        return eqx_cc.CCChord(default.rtol, default.atol, default.norm, default.kappa)
    return diffrax.with_stepsize_controller_tols(eqx_cc.CCChord)()


def _of_diffrax() -> None:
    eqx_cc.CCChord.init = counted(eqx_cc.CCChord.init)
    _replace_defaults(diffrax, _chord)
    _replace(diffrax, VeryChord=eqx_cc.CCChord)


#
# Jacobians
#


def _jacobian(original: Callable) -> Callable:
    """In place of `jax.jacfwd` or `jax.jacrev`."""

    @counted
    @ft.wraps(original)
    def jacobian(fun, argnums=0, has_aux=False, **kwargs):
        return eqx_cc.cc_jacobian(fun, argnums=argnums, has_aux=has_aux, **kwargs)

    return jacobian


@ft.wraps(jax.hessian)
def _hessian(fun, argnums=0, has_aux=False, **kwargs):
    jacobian = _jacobian(jax.jacfwd)
    first = jacobian(fun, argnums, has_aux, **kwargs)
    return jacobian(first, argnums, has_aux, **kwargs)


def _of_jax() -> None:
    forward, reverse = map(_jacobian, (jax.jacfwd, jax.jacrev))
    _replace(jax, jacfwd=forward, jacrev=reverse, hessian=_hessian)


def _of_equinox() -> None:
    jacobian = counted(eqx_cc.filter_jacobian)
    hessian = counted(eqx_cc.filter_hessian)
    names = "filter_jacfwd", "filter_jacrev"
    _replace(eqx, filter_hessian=hessian, **dict.fromkeys(names, jacobian))
    _of_jax()


PARTS = {
    "diffrax": _of_diffrax,
    "equinox": _of_equinox,
    "jax": _of_jax,
    "lineax": _of_lineax,
    "optimistix": _of_optimistix,
}
