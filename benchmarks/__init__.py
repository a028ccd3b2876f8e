"""Measurements of Jacobians, of solves and of orders, next to those of other packages.

Each module here is a command (`python -m benchmarks.runtime`). `cases` has all
problems, `harness` measures, and `reports` makes tables and plots of the rows: reports
import the harness, and both import the cases.
"""
