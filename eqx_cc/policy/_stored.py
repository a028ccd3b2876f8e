"""Policies in folders: the weights, and a JSON file that names the architecture."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import equinox as eqx
import jax
import jax.random as jr

from ._game.policy import AbstractPolicy, Markowitz
from ._networks import EdgeTransformer, GraphPolicy
from ._rule import RulePolicy


Folder = str | os.PathLike[str]

ARCHITECTURE, LAST, BEST = "policy.json", "policy.eqx", "best.eqx"

_KINDS: dict[str, type[AbstractPolicy]] = {
    kind.__name__: kind
    for kind in (GraphPolicy, EdgeTransformer, RulePolicy, Markowitz)
}


def load(
    folder: Folder, like: AbstractPolicy | None = None, *, last: bool = False
) -> AbstractPolicy:
    """The policy of a folder, as `python -m eqx_cc.policy train` or
    [`eqx_cc.policy.save`][] wrote it.

    `policy.json` names the class and the sizes of the policy, and the weights are plain
    arrays: nothing of the folder is executed.

    **Arguments:**

    - `folder`: the folder, as a string or a path.
    - `like`: a policy of the same class and sizes, for a class of your own. Its arrays
        are replaced by those of the folder.
    - `last`: true for the policy of the last checkpoint (`policy.eqx`). By default it
        is the one with the best score (`best.eqx`), if there are scores.

    **Returns:** an [`eqx_cc.policy.AbstractPolicy`][]. Raises a `ValueError` if files
    are missing or do not fit each other.

    !!! Example

        ```python
        settings = eqx_cc.policy.Settings(batch=4, largest=12)
        policy = eqx_cc.policy.GraphPolicy(width=8, rounds=1, key=jr.key(0))
        eqx_cc.policy.save("trained", eqx_cc.policy.start(policy, settings))
        policy = eqx_cc.policy.load("trained")
        ```
    """
    path = existing(folder)
    if like is not None and not isinstance(like, AbstractPolicy):
        raise ValueError(
            f"`like` must be a policy; got a `{type(like).__name__}`. To go on with "
            "training: `eqx_cc.policy.resume(folder, training)`."
        )
    weights = path / (LAST if last or not (path / BEST).exists() else BEST)
    if not weights.exists():
        raise ValueError(
            f"`folder` must be the folder of a trained policy; {str(path)!r} has no "
            f"{LAST}. Give the `--folder` of `python -m eqx_cc.policy train`."
        )
    template = _template(path) if like is None else like
    # A trace may be under way, of which this is no part.
    with jax.ensure_compile_time_eval():
        return read(weights, template, f"a policy `{described(template)}`")


def existing(folder: Folder) -> pathlib.Path:
    """The path of a folder. Raises a `ValueError` if there is none."""
    path = pathlib.Path(folder)
    if not path.is_dir():
        raise ValueError(
            f"`folder` must be the folder of a trained policy; there is no "
            f"{str(path)!r}. `python -m eqx_cc.policy train --folder {path}` makes it."
        )
    return path


def architecture(policy: AbstractPolicy) -> dict[str, Any]:
    """The class and the sizes of a policy, for JSON. A class of users has no sizes."""
    kind = type(policy)
    if isinstance(policy, GraphPolicy):
        rounds, width, _ = policy.messages.update.second.weight.shape
        sizes = {"width": width, "rounds": rounds, "sharpness": policy.sharpness}
    elif isinstance(policy, EdgeTransformer):
        layers, _, width = policy.layers.project.weight.shape
        sizes = {"width": width, "layers": layers, "heads": policy.layers.heads}
        sizes |= {"sharpness": policy.sharpness}
    else:
        sizes = {}
    known = _KINDS.get(kind.__name__) is kind
    name = kind.__name__ if known else f"{kind.__module__}.{kind.__qualname__}"
    return {"kind": name, **sizes}


def described(policy: AbstractPolicy) -> str:
    """The class and the sizes of a policy, in words."""
    kind, *sizes = architecture(policy).items()
    return f"{kind[1]}({', '.join(f'{name}={size}' for name, size in sizes)})"


def _template(folder: pathlib.Path) -> AbstractPolicy:
    """A policy of the architecture of a folder, without values."""
    stored = _architecture(folder / ARCHITECTURE)
    kind, sizes = stored.pop("kind"), stored
    if kind not in _KINDS:
        name = kind.rpartition(".")[2]
        raise ValueError(
            f"`like` must be given for a class that is not of eqx_cc: the policy in "
            f"{str(folder)!r} is a `{kind}`. "
            f"`eqx_cc.policy.load(folder, like={name}(...))`."
        )
    try:
        template = _without_values(_KINDS[kind], sizes)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise _broken(folder / ARCHITECTURE) from error
    if architecture(template) != {"kind": kind, **sizes}:
        raise _broken(folder / ARCHITECTURE)
    return template


def _without_values(
    kind: type[AbstractPolicy], sizes: dict[str, Any]
) -> AbstractPolicy:
    """A policy of shapes alone, so that no wrong size fills the memory."""
    is_network = issubclass(kind, GraphPolicy | EdgeTransformer)
    return eqx.filter_eval_shape(
        lambda: kind(**sizes, **({"key": jr.key(0)} if is_network else {}))
    )


def _architecture(path: pathlib.Path) -> dict[str, Any]:
    if not path.exists():
        raise ValueError(
            f"`folder` must have a {ARCHITECTURE}, which names the architecture; "
            f"{str(path.parent)!r} has none. Give a policy of the same class and "
            "sizes: `eqx_cc.policy.load(folder, like=policy)`."
        )
    try:
        stored = json.loads(path.read_text())
    except ValueError as error:
        raise _broken(path) from error
    if not isinstance(stored, dict) or not isinstance(stored.get("kind"), str):
        raise _broken(path)
    if not all(isinstance(v, int | float) for k, v in stored.items() if k != "kind"):
        raise _broken(path)
    return stored


def _broken(path: pathlib.Path) -> ValueError:
    return ValueError(
        f"{str(path)!r} must name an architecture, as "
        '{"kind": "GraphPolicy", "width": 32, "rounds": 3, "sharpness": 8.0} does. '
        "Correct it, or give a policy of the same class and sizes: "
        "`eqx_cc.policy.load(folder, like=policy)`."
    )


def read(path: pathlib.Path, like: Any, wanted: str) -> Any:
    """A PyTree of a file. Raises a `ValueError` if the file is of another."""
    try:
        with path.open("rb") as file:
            tree = eqx.tree_deserialise_leaves(file, like)
            complete = not file.read(1)
    except (RuntimeError, ValueError, EOFError, TypeError, OSError) as error:
        raise ValueError(_MISMATCH.format(str(path), wanted)) from error
    if not complete:
        raise ValueError(_MISMATCH.format(str(path), wanted))
    return tree


_MISMATCH = "{!r} must be the file of {}; its arrays are others, or it is broken."


def write(path: pathlib.Path, content: Any) -> None:
    """Writes a PyTree, or text, to a file, which is never there in part."""
    new = path.with_suffix(".new")
    if isinstance(content, str):
        new.write_text(content)
    else:
        eqx.tree_serialise_leaves(new, content)
    new.replace(path)
