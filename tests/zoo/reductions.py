"""Reductions, cumulative operations and sorting."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from ._case import Case, case, positive, uniform


_X = uniform(2, 3)

_OF_A_MATRIX = {
    "average": lambda x: jnp.average(x, axis=0, weights=jnp.array([1.0, 3.0])),
    "corrcoef": lambda x: jnp.corrcoef(x),
    "cov": lambda x: jnp.cov(x),
    "cumlogsumexp": lambda x: lax.cumlogsumexp(x, axis=1),
    "cummax": lambda x: lax.cummax(x, axis=1) ** 2,
    "cummin": lambda x: lax.cummin(x, axis=0, reverse=True),
    "cumprod": lambda x: jnp.cumprod(x, axis=1),
    "cumprod_reverse": lambda x: lax.cumprod(x, axis=0, reverse=True),
    "cumsum": lambda x: jnp.cumsum(x, axis=0),
    "cumsum_flat": lambda x: jnp.cumsum(x**2),
    "cumsum_reverse": lambda x: lax.cumsum(x, axis=1, reverse=True) * x,
    "lexsort_take": lambda x: x[0][jnp.lexsort((x[0], x[1]))] ** 2,
    "max": lambda x: jnp.max(x, axis=0),
    "max_all": lambda x: jnp.max(x) * x,
    "mean": lambda x: jnp.mean(x),
    "mean_axis": lambda x: jnp.mean(x, axis=1, keepdims=True) * x,
    "median": lambda x: jnp.median(x, axis=1),
    "min": lambda x: jnp.min(x, axis=1),
    "nanmean": lambda x: jnp.nanmean(x, axis=1),
    "nansum": lambda x: jnp.nansum(x, axis=0),
    "norm": lambda x: jnp.linalg.norm(x),
    "norm_inf": lambda x: jnp.linalg.norm(x, ord=jnp.inf, axis=1),
    "norm_one": lambda x: jnp.linalg.norm(x, ord=1),
    "percentile": lambda x: jnp.percentile(x, 30.0, axis=1),
    "prod": lambda x: jnp.prod(x, axis=1),
    "prod_all": lambda x: jnp.prod(x),
    "prod_with_zero": lambda x: jnp.prod(x - x[:, :1], axis=0),
    "ptp": lambda x: jnp.ptp(x, axis=1),
    "quantile": lambda x: jnp.quantile(x, jnp.array([0.2, 0.6])),
    "sort": lambda x: jnp.sort(x, axis=1),
    "sort_two": lambda x: lax.sort((x, x**2), dimension=0, num_keys=1),
    "std": lambda x: jnp.std(x, axis=1),
    "sum": lambda x: jnp.sum(x, axis=0) ** 2,
    "sum_all": lambda x: jnp.sum(x),
    "sum_of_products": lambda x: jnp.sum(x * jnp.sin(x), axis=(0, 1), keepdims=True),
    "sum_where": lambda x: jnp.sum(x**2, where=x > 0.0),
    "top_k": lambda x: lax.top_k(x, 2)[0],
    "trapezoid": lambda x: jnp.trapezoid(x**2, dx=0.1, axis=1),
    "var": lambda x: jnp.var(x, axis=0, ddof=1),
    "partition": lambda x: jnp.partition(x, 1, axis=1),
    "vector_norm": lambda x: jnp.linalg.vector_norm(x, ord=3, axis=0),
}


def _reduce_product_of_shifted(x):
    return lax.reduce(x, np.array(1.0), lax.mul, (1,))


def _reduce_precision(x):
    return lax.reduce_precision(x, 8, 10)


CASES: dict[str, Case] = {name: case(f, _X) for name, f in _OF_A_MATRIX.items()} | {
    "max_of_ties": case(lambda x: jnp.max(x, axis=1), np.ones((2, 3))),
    "mean_of_one": case(lambda x: jnp.mean(x), uniform(1)),
    "prod_of_zeros": case(lambda x: jnp.prod(x), np.array([0.0, 2.0, 0.0])),
    "reduce_mul": case(_reduce_product_of_shifted, _X),
    "reduce_precision": case(_reduce_precision, _X),
    "sort_of_ties": case(jnp.sort, np.array([2.0, 1.0, 2.0])),
    "sum_of_none": case(lambda x: jnp.sum(x) + 1.0, uniform(0)),
    "sum_over_empty_axis": case(lambda x: jnp.sum(x, axis=1), uniform(2, 0)),
    "sum_over_no_axes": case(lambda x: jnp.sum(x, axis=()), _X),
    "geometric_mean": case(lambda x: jnp.exp(jnp.mean(jnp.log(x))), positive(3)),
}
