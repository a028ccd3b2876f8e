"""The elimination game: pure functions over arrays, for training and for play.

- In: a computational graph. Out: states, moves and costs.
"""
