"""The Jacobian of an industrial robot arm, by cross-country elimination."""

# %% imports
import equinox as eqx
import eqx_cc
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


jax.config.update("jax_enable_x64", True)


# %% arm
class RobotArm(eqx.Module):
    """Forward kinematics of an arm with six revolute joints and a spherical wrist."""

    a1: float = 175.0  # All lengths in millimetres.
    a2: float = 890.0
    a3: float = 50.0
    d1: float = 575.0
    d4: float = 1035.0
    d6: float = 185.0

    def __call__(self, joints: Float[Array, "6"]) -> Float[Array, "6"]:
        """From joint angles to the position and the Euler angles (ZYZ) of the tool."""
        t1, t2, t3, t4, t5, t6 = (joints[i] for i in range(6))
        c1, c4, c5, c6 = jnp.cos(t1), jnp.cos(t4), jnp.cos(t5), jnp.cos(t6)
        s1, s4, s5, s6 = jnp.sin(t1), jnp.sin(t4), jnp.sin(t5), jnp.sin(t6)
        c2, c23 = jnp.cos(t2), jnp.cos(t2 + t3)
        s2, s23 = jnp.sin(t2), jnp.sin(t2 + t3)

        # The approach vector `a` of the tool, and the heights of its two other axes.
        ax = s5 * (c1 * c23 * c4 + s1 * s4) + c1 * s23 * c5
        ay = s5 * (s1 * c23 * c4 - c1 * s4) + s1 * s23 * c5
        az = s23 * c4 * s5 - c23 * c5
        nz = c6 * (c23 * s5 + s23 * c4 * c5) - s23 * s4 * s6
        oz = -s6 * (c23 * s5 + s23 * c4 * c5) - s23 * s4 * c6

        reach = self.a1 + self.a2 * c2 + self.a3 * c23 + self.d4 * s23
        height = self.d1 + self.a2 * s2 + self.a3 * s23 - self.d4 * c23
        position = c1 * reach + self.d6 * ax, s1 * reach + self.d6 * ay
        position = *position, height + self.d6 * az
        angles = jnp.atan2(ay, ax), jnp.atan2(jnp.sqrt(1 - az**2), az)
        angles = *angles, jnp.atan2(oz, -nz)
        return jnp.stack([*position, *angles])


# %% jacobian
arm = RobotArm()
joints = jnp.array([0.3, -0.5, 0.7, 0.2, 0.9, -0.4])
jacobian = eqx.filter_jit(eqx_cc.filter_jacobian(arm))(joints)

# %% check
reference = eqx.filter_jacfwd(arm)(joints)
error = np.abs(jacobian - reference).max() / np.abs(reference).max()

# %% show
with np.printoptions(precision=3, suppress=True, linewidth=88):
    print("Jacobian of position (mm) and Euler angles by the six joint angles:")
    print(jacobian)
print(f"Relative error against equinox.filter_jacfwd: {error:.1e}\n")

# %% explain
report = eqx_cc.explain(arm, joints)
for order, plan in report.plans.items():
    print(f"{order:>9}: {plan.num_multiplications} multiplications")
print(f"The chosen order was found by {report.found_by}.")
