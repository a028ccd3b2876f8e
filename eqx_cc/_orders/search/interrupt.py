"""The old place of `interruptible`."""

from .progress import interruptible as interruptible
