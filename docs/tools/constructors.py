"""An extension of griffe: the documentation of a class begins with its constructor, and
the defaults of all arguments."""

import importlib
import inspect

import griffe


# What a function or a method returns, and nobody makes by hand.
RESULTS = {
    *(
        "Block",
        "ComputationalGraph",
        "EliminationGame",
        "EliminationState",
        "Explanation",
    ),
    *("JacobianOperator", "JacobianReport", "Operand", "Order", "Partial", "Pattern"),
    *("Trace", "Training"),
}
_LINE = 80


def constructor(cls: type) -> str | None:
    """A call with every argument, or None for a class that is not called."""
    name = cls.__name__
    if name in RESULTS or name.startswith(("Abstract", "_")):
        return None
    parameters = inspect.signature(cls).parameters.values()
    arguments = [_argument(parameter) for parameter in parameters]
    if any(p.kind is p.KEYWORD_ONLY for p in parameters):
        kinds = [p.kind is p.KEYWORD_ONLY for p in parameters]
        arguments.insert(kinds.index(True), "*")
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= _LINE:
        return line
    return "\n".join([f"{name}(", *(f"    {a}," for a in arguments), ")"])


def _argument(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return parameter.name
    default = parameter.default
    if inspect.isfunction(default):
        return f"{parameter.name}={default.__module__.split('.')[0]}.{default.__name__}"
    shown = default if isinstance(default, str) else repr(default)
    text = f'"{shown}"' if isinstance(default, str) else shown.replace("'", '"')
    return f"{parameter.name}={text}"


class Constructors(griffe.Extension):
    """Puts the constructor before the docstring."""

    def on_class_instance(self, *, cls: griffe.Class, **kwargs) -> None:
        module = cls.module.path
        if not module.startswith("eqx_cc") or cls.docstring is None:
            return
        value = getattr(importlib.import_module(module), cls.name, None)
        call = constructor(value) if isinstance(value, type) else None
        if call is not None:
            text = inspect.cleandoc(cls.docstring.value)
            cls.docstring.value = f"```python\n{call}\n```\n\n{text}"
