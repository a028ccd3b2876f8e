"""Looking ahead in the game: beam search, tree search, and shorter graphs.

- In: a policy and a game. Out: orders.
"""
