"""What differs with our parts in place, and why.

For each host: patterns of test ids (those of `fnmatch`, in which `[` stands for itself)
and the reason. Whatever else differs is a fault.
"""

KNOWN: dict[str, dict[str, str]] = {}
