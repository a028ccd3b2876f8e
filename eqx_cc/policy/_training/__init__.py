"""Agents, and what they learn from.

- In: random graphs and functions. Out: a policy with new weights.
"""
