"""How what is tested is compiled.

Compiling programs that run for microseconds took most of the time, and no test times
anything: XLA optimises little. With JAX 0.10 it also fuses by the older of its two
ways, which takes a third of the time away. XLA of JAX 0.12 has no such flag, and none
of its others was found to save time: neither `xla_cpu_opt_preset=FAST_COMPILE` nor
`xla_llvm_disable_expensive_passes`, `xla_cpu_parallel_codegen_split_count=1` or
`xla_cpu_use_new_xtile_lowering=false`.
"""

import os

import jax


_NO_EMITTERS = "--xla_cpu_use_fusion_emitters=false"


def compile_quickly() -> None:
    """For this process, and those that it starts; unless `EQX_CC_TESTS_OPTIMISED=1`."""
    if os.environ.get("EQX_CC_TESTS_OPTIMISED", "0") != "0":
        return
    jax.config.update("jax_disable_most_optimizations", True)
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    # XLA aborts the process if it does not know a flag, and cannot be asked before: the
    # one place outside of `eqx_cc/_jaxpr/releases.py` that looks at a release.
    if jax.__version_info__[:2] == (0, 10):
        flags = _own_flags(), _NO_EMITTERS
        os.environ["XLA_FLAGS"] = " ".join(filter(None, flags))


def as_users_have_it() -> dict[str, str]:
    """The variables of a process in which everything is optimised."""
    return {"XLA_FLAGS": _own_flags(), "JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}


def _own_flags() -> str:
    return os.environ.get("XLA_FLAGS", "").replace(_NO_EMITTERS, "").strip()
