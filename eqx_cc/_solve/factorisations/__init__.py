"""Factorisations of matrices of known structure, and solves with them.

- In: the entries of a matrix (`_solve.matrix`). Out: factors, and solutions.
- A new factorisation is a class in a file here, and a line in the table of
  `_solve.select`.

Most factorisations have two forms: loops over single numbers, which one attribute of
the call has compiled to native code on CPU, and operations of arrays. A band of 1,024
rows and five columns is factored in 60 microseconds with pivoting; LAPACK takes 60
milliseconds for the dense matrix, and the same loops as operations of XLA take 3.

In a native loop, an array that is changed entry by entry must not be read by an inner
loop: XLA would copy it in every iteration. Small matrices are therefore inverted row by
row. Up to 64 rows the inverse serves an iteration better than factors.

A large matrix with wide bands even in the best order is factored by SciPy's SuperLU in
a callback. This was 3 to 12 times as fast as blocks on grids of 2,048 to 4,608
unknowns.

Pivots are sought in the whole band, but not across the blocks of wider bands, nor
between a core and its border or its part of low rank. There the solver checks the
residual.
"""
