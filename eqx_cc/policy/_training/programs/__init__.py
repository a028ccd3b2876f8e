"""Random programs of the kinds that people differentiate, to train on.

- In: a seed. Out: a function, or its graph.
- A family in `mechanics`, `numerics`, `networks`, `fields` or `finance` draws programs
  of one kind and any size; `draft` composes them, and `random_programs` draws all.
- None of them is a function that the project evaluates orders on (tests, benchmarks,
  examples).
"""
