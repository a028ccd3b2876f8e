"""Positions along axes: affine forms and tables, and equations between them."""
