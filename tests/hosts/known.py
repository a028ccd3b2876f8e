"""What differs with our parts in place, and why.

For each host: patterns of test ids (those of `fnmatch`, in which `[` stands for itself)
and the reason. Whatever else differs is a fault.
"""

_HOLOMORPHIC = "functions of complex numbers have no argument `holomorphic` here"
_API = "tests/api_test.py::APITest::"

KNOWN: dict[str, dict[str, str]] = {
    "diffrax": {
        "test/test_solver.py::test_implicit_euler_adaptive": "presumes that the chord "
        "method diverges if it has not converged after two iterations; ours goes on",
    },
    "jax": {
        _API + "test_hessian_holomorphic": _HOLOMORPHIC,
        _API + "test_holomorphic_jac*_of_float_errors": _HOLOMORPHIC,
        _API + "test_jacfwd_of_complex_errors": "the error has other words",
        _API + "test_nonholomorphic_jacrev": "inputs are real",
        _API + "test_heterogeneous_jacrev": "blocks have the type of the output, as "
        "those of `jacfwd` have; those of `jacrev` have that of the input",
    },
}
