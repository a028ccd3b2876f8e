# pyright: reportAttributeAccessIssue=false
r"""Joint angles that bring the hand of a robot to a pose. The robot is a description in
MJCF, the format of MuJoCo, and MJX computes its kinematics in JAX.

It needs the extra `examples`.

??? cite "Reference"

    E. Todorov, T. Erez and Y. Tassa. MuJoCo: A physics engine for model-based control.
    *IEEE/RSJ International Conference on Intelligent Robots and Systems*, 2012.
"""

# %% imports
import contextlib
import sys

import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


try:
    import mujoco

    with contextlib.redirect_stdout(None):  # It prints what is missing for GPUs.
        from mujoco import mjx
except ImportError:
    sys.exit('Install the extra `examples`: python -m pip install "eqx_cc[examples]"')

jax.config.update("jax_enable_x64", True)

# %% robot
ROBOT = """
<mujoco>
  <compiler angle="degree"/>
  <default><geom type="capsule" size="0.05"/></default>
  <worldbody>
    <body pos="0 0 0.333">
      <joint/>
      <geom fromto="0 0 -0.2 0 0 0"/>
      <body euler="-90 0 0">
        <joint/>
        <geom fromto="0 0 0 0 -0.2 0"/>
        <body pos="0 -0.316 0" euler="90 0 0">
          <joint/>
          <geom fromto="0 0 -0.1 0 0 0"/>
          <body pos="0.0825 0 0" euler="90 0 0">
            <joint/>
            <geom fromto="0 0 0 -0.08 0.1 0"/>
            <body pos="-0.0825 0.384 0" euler="-90 0 0">
              <joint/>
              <geom fromto="0 0 -0.2 0 0 0"/>
              <body euler="90 0 0">
                <joint/>
                <geom fromto="0 0 0 0.08 0 0"/>
                <body pos="0.088 0 0" euler="90 0 0">
                  <joint/>
                  <geom fromto="0 0 0 0 0 0.1"/>
                  <site name="hand" pos="0 0 0.2"/>
                </body>
              </body>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
robot = mujoco.MjModel.from_xml_string(ROBOT)
model = mjx.put_model(robot)
data = mjx.make_data(robot)


# %% pose
def pose(q: Float[Array, "7"]) -> Float[Array, "12"]:
    """The position of the hand, and its three axes."""
    state = mjx.kinematics(model, data.replace(qpos=q))
    return jnp.concatenate([state.site_xpos[0], state.site_xmat[0].ravel()])


# %% jacobian
linearise = jax.jit(eqx_cc.filter_value_and_jacobian(pose))

q = jnp.array([0.3, -0.5, 0.7, -1.2, 0.9, 1.4, 0.2])
target, jacobian = linearise(q)
reference = jax.jit(jax.jacfwd(pose))(q)
print(f"Error against jax.jacfwd: {jnp.abs(jacobian - reference).max():.0e}")


# %% mujoco
def by_mujoco(q: Float[Array, "7"]) -> tuple[np.ndarray, np.ndarray]:
    """The position of the hand and its Jacobian, without JAX."""
    state, jacobian = mujoco.MjData(robot), np.zeros((3, 7))
    state.qpos = q
    mujoco.mj_fwdPosition(robot, state)
    mujoco.mj_jacSite(robot, state, jacobian, None, 0)
    return state.site_xpos[0], jacobian


_, reference = by_mujoco(q)
print(f"Error against MuJoCo: {np.abs(jacobian[:3] - reference).max():.0e}")

# %% explain
report = eqx_cc.explain(pose, q, granularity="scalar")
for order, plan in report.plans.items():
    print(f"{order:>9}: {plan.num_multiplications} multiplications")

# %% solve
guess = np.array([0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0])
for iteration in range(8):
    value, jacobian = linearise(jnp.asarray(guess))
    misfit = np.asarray(value - target)
    print(f"Iteration {iteration}: misfit {np.abs(misfit).max():.0e}")
    # Seven joints for six degrees of freedom: the shortest of all steps.
    guess -= np.linalg.lstsq(np.asarray(jacobian), misfit, rcond=1e-9)[0]

position, _ = by_mujoco(jnp.asarray(guess))
distance = np.linalg.norm(position - target[:3])
print(f"Distance of the hand from its target, by MuJoCo: {distance:.0e} m")
