"""Special functions, and the activations of `jax.nn`."""

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import jax.scipy.stats as stats
from jax import nn

from ._case import Case, case, positive, uniform


_X = uniform(2, 3)
_POSITIVE = positive(2, 3)
_UNIT = uniform(2, 3, low=0.2, high=0.8)

_OF_REALS = {
    "bessel_i0e": special.i0e,
    "bessel_i1": special.i1,
    "bessel_i1e": special.i1e,
    "dawsn": special.dawsn,
    "erf": special.erf,
    "erfc": special.erfc,
    "erfinv": special.erfinv,
    "expit": special.expit,
    "log_ndtr": special.log_ndtr,
    "ndtr": special.ndtr,
    "norm_logpdf": stats.norm.logpdf,
}

_OF_POSITIVES = {
    "digamma": special.digamma,
    "entr": special.entr,
    "exp1": special.exp1,
    "expi": special.expi,
    "gamma": special.gamma,
    "gammaln": special.gammaln,
    "multigammaln": lambda x: special.multigammaln(x + 1.0, 2),
    "polygamma": lambda x: special.polygamma(1, x),
    "zeta": lambda x: special.zeta(x + 1.5, 2.0 + 0.0 * x),
}

_OF_THE_UNIT_INTERVAL = {
    "logit": special.logit,
    "ndtri": special.ndtri,
    # Above 1 JAX's own reverse mode gives `nan`: a `where` that is not a safe one.
    "spence": special.spence,
    "t_logpdf": lambda x: stats.t.logpdf(x, 5.0),
}

_OF_TWO_POSITIVES = {
    "beta": special.beta,
    "betaln": special.betaln,
    "gammainc": special.gammainc,
    "gammaincc": special.gammaincc,
    "gamma_logpdf": lambda x, a: stats.gamma.logpdf(x, a),
    "kl_div": special.kl_div,
    "rel_entr": special.rel_entr,
    "xlog1py": special.xlog1py,
    "xlogy": special.xlogy,
}

_ACTIVATIONS = {
    "celu": nn.celu,
    "elu": nn.elu,
    "gelu": nn.gelu,
    "gelu_exact": lambda x: nn.gelu(x, approximate=False),
    "hard_sigmoid": nn.hard_sigmoid,
    "hard_silu": nn.hard_silu,
    "hard_tanh": nn.hard_tanh,
    "leaky_relu": nn.leaky_relu,
    "log_sigmoid": nn.log_sigmoid,
    "mish": nn.mish,
    "relu": nn.relu,
    "relu6": nn.relu6,
    "selu": nn.selu,
    "sigmoid": nn.sigmoid,
    "silu": nn.silu,
    "soft_sign": nn.soft_sign,
    "softplus": nn.softplus,
    "sparse_plus": nn.sparse_plus,
    "sparse_sigmoid": nn.sparse_sigmoid,
    "squareplus": nn.squareplus,
}

_ALONG_AN_AXIS = {
    "glu": lambda x: nn.glu(x, axis=0),
    "log_softmax": nn.log_softmax,
    "logmeanexp": lambda x: nn.logmeanexp(x, axis=0),
    "logsumexp": nn.logsumexp,
    "logsumexp_axis": lambda x: nn.logsumexp(x, axis=1, keepdims=True),
    "logsumexp_where": lambda x: nn.logsumexp(x, axis=1, where=x < 0.5),
    "logsumexp_weights": lambda x: nn.logsumexp(x, b=x**2, axis=0),
    "softmax": nn.softmax,
    "softmax_axis0": lambda x: nn.softmax(x, axis=0),
    "softmax_where": lambda x: nn.softmax(x, where=x < 0.8),
    "standardize": lambda x: nn.standardize(x, axis=-1),
}


def _attention(qkv, **options):
    return nn.dot_product_attention(*qkv, **options)


def _cross_entropy(logits):
    labels = nn.one_hot(jnp.array([0, 2]), 3, dtype=logits.dtype)
    return -jnp.mean(jnp.sum(labels * nn.log_softmax(logits), axis=-1))


# In double precision its scale breaks the rules of strict promotion.
_QKV = tuple(uniform(3, 2, 2, seed=i).astype(jnp.float32) for i in range(3))

CASES: dict[str, Case] = (
    {name: case(fun, _X) for name, fun in _OF_REALS.items()}
    | {name: case(fun, _POSITIVE) for name, fun in _OF_POSITIVES.items()}
    | {name: case(fun, _UNIT) for name, fun in _OF_THE_UNIT_INTERVAL.items()}
    | {
        name: case(lambda v, fun=fun: fun(*v), (_POSITIVE, positive(2, 3, seed=1)))
        for name, fun in _OF_TWO_POSITIVES.items()
    }
    | {name: case(fun, 3.0 * _X) for name, fun in _ACTIVATIONS.items()}
    | {name: case(fun, _X) for name, fun in _ALONG_AN_AXIS.items()}
    | {
        "attention": case(_attention, _QKV),
        "attention_causal": case(lambda v: _attention(v, is_causal=True), _QKV),
        "betainc": case(
            lambda x: special.betainc(jnp.full((), 1.5), jnp.full((), 2.5), x),
            _UNIT[0],
        ),
        "cross_entropy": case(_cross_entropy, _X),
        "random_gamma": case(
            lambda a: jax.random.gamma(jax.random.key(0), a), _POSITIVE[0, :2]
        ),
    }
)
