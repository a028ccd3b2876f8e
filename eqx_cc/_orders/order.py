"""An elimination order with its cost and lower bound."""

from __future__ import annotations

from collections.abc import Iterable


class Order(tuple[int, ...]):
    """An elimination order: a tuple of the intermediate vertices, first eliminated
    first, with its cost and lower bound.

    It may be passed as `order` wherever a sequence of vertices may.

    **Attributes:**

    - `cost`: the cost under the cost model.
    - `cost_model`: the name of the cost model.
    - `lower_bound`: no order of this graph costs less; 0 if there is no better bound.
    - `optimal`: true if it is proved that no order costs less.
    - `seconds`: the time of the search.
    - `found_by`: the search or ordering that it comes from.
    - `interrupted`: true if the search was interrupted. The cache does not store this.

    !!! Example

        ```python
        order = eqx_cc.optimise(fun, x, seconds=1, progress=False)
        print(order.cost, order.lower_bound, order.optimal)
        eqx_cc.filter_jacobian(fun, order=order)(x)
        ```

        ```text
        3 3 True
        ```
    """

    cost: int
    cost_model: str
    lower_bound: int
    seconds: float
    found_by: str
    interrupted: bool = False

    def __new__(
        cls,
        vertices: Iterable[int],
        *,
        cost: int,
        cost_model: str,
        found_by: str,
        lower_bound: int = 0,
        seconds: float = 0.0,
    ) -> Order:
        self = super().__new__(cls, vertices)
        self.cost, self.cost_model = cost, cost_model
        self.lower_bound, self.seconds = lower_bound, seconds
        self.found_by = found_by
        return self

    def __getnewargs_ex__(self):  # So that it can be copied and pickled.
        fields = dict(vars(self))
        fields.pop("interrupted", None)
        return (tuple(self),), fields

    @property
    def optimal(self) -> bool:
        """True if it is proved that no order of this graph costs less."""
        return self.cost <= self.lower_bound

    def __repr__(self) -> str:
        bound = "optimal" if self.optimal else f"lower bound {self.lower_bound}"
        return (
            f"Order({len(self)} vertices, {self.cost} {self.cost_model}, {bound}, "
            f"{self.seconds:.3g} s, {self.found_by})"
        )
