"""Checkpoints of training."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from .._stored import (
    ARCHITECTURE,
    architecture,
    BEST,
    described,
    existing,
    Folder,
    LAST,
    read,
    write,
)
from .train import Training


CHECKPOINT, SETTINGS, SCORE = "checkpoint.eqx", "settings.json", "best.json"


def save(
    folder: Folder,
    training: Training,
    description: Mapping[str, Any] | None = None,
    score: float | None = None,
) -> None:
    """Writes a checkpoint.

    - `checkpoint.eqx` is for [`eqx_cc.policy.resume`][],
    - `policy.eqx` and `policy.json`, the policy and its architecture, are for
      [`eqx_cc.policy.load`][],
    - `best.eqx` is the policy with the least score so far, of those with the same
      architecture as the last, and `best.json` its score,
    - `settings.json` is the description.

    **Arguments:**

    - `folder`: the folder, as a string or a path. It is created if there is none.
    - `training`: an [`eqx_cc.policy.Training`][].
    - `description`: a description, which is written as JSON.
    - `score`: the score of the policy, the less the better, as the mean of
        [`eqx_cc.policy.evaluate`][] is. Without a score, no policy of the folder counts
        as the best, and `load` returns the last.

    **Returns:** nothing.

    !!! Example

        ```python
        policy = eqx_cc.policy.Markowitz()
        settings = eqx_cc.policy.Settings(batch=4, largest=12)
        training = eqx_cc.policy.start(policy, settings)
        eqx_cc.policy.save("trained", training, {"batch": 4})
        ```
    """
    if not isinstance(training, Training):
        raise TypeError(
            "`training` must be an `eqx_cc.policy.Training`; got a "
            f"`{type(training).__name__}`. Make one of a policy: "
            "`eqx_cc.policy.start(policy, settings)`."
        )
    path = pathlib.Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    text = json.dumps(architecture(training.policy), indent=2)
    if score is None or not _has(path / ARCHITECTURE, text):
        forget_best(path)
    write(path / ARCHITECTURE, text)
    write(path / SETTINGS, json.dumps(dict(description or {}), indent=2))
    if score is not None and score < best_score(path):
        row = {"iteration": int(training.iteration), "score": float(score)}
        write(path / BEST, training.policy)
        write(path / SCORE, json.dumps(row))
    write(path / LAST, training.policy)
    write(path / CHECKPOINT, training)


def _has(path: pathlib.Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def forget_best(folder: pathlib.Path) -> None:
    """Removes the best policy so far, and its score."""
    (folder / BEST).unlink(missing_ok=True)
    (folder / SCORE).unlink(missing_ok=True)


def best_score(folder: pathlib.Path) -> float:
    """The least score so far; infinite if there is none that can be read."""
    try:
        return float(json.loads((folder / SCORE).read_text())["score"])
    except (OSError, ValueError, KeyError, TypeError):
        return float("inf")


def resume(folder: Folder, training: Training) -> Training:
    """The training of the last checkpoint of a folder, to go on with.

    **Arguments:**

    - `folder`: where [`eqx_cc.policy.save`][] wrote it, as a string or a path.
    - `training`: a new training (of [`eqx_cc.policy.start`][] or
        [`eqx_cc.policy.start_evolution`][]) whose policy has the same class and sizes.

    **Returns:** an [`eqx_cc.policy.Training`][]. Raises a `ValueError` if there is no
    checkpoint, or if it is one of another class or sizes.

    !!! Example

        ```python
        policy = eqx_cc.policy.GraphPolicy(width=8, rounds=1, key=jr.key(0))
        settings = eqx_cc.policy.Settings(batch=4, largest=12)
        training = eqx_cc.policy.start(policy, settings)
        eqx_cc.policy.save("trained", training)
        training = eqx_cc.policy.resume("trained", training)
        ```
    """
    path = existing(folder) / CHECKPOINT
    if not path.exists():
        raise ValueError(
            f"`folder` must have a {CHECKPOINT}; {str(path.parent)!r} has none. To use "
            "a policy without its training: `eqx_cc.policy.load(folder)`."
        )
    wanted = f"a training of `{described(training.policy)}` by an agent of this kind"
    return read(path, training, wanted)
