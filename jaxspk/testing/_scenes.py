"""A right gradient at one input, with all that a planted mistake or a law may want to look at."""

import dataclasses

import numpy as np

from jaxspk.testing._claims import Claim
from jaxspk.testing._examples import Example, Vector
from jaxspk.testing._witnesses import Evidence


@dataclasses.dataclass(frozen=True)
class Scene:
    """The right gradient at one input.

    Attributes:
      example: the input.
      cotangent: weights of the value's entries, in the value's shape.
      right: the claimed gradient, flat.
      evidence: the witnesses.
      claim: computes the claimed gradient at another input.
      cache: of wrong gradients already computed here, by kind.
      found: of those computed together, by what they have in common.
    """

    example: Example
    cotangent: Vector
    right: Vector
    evidence: Evidence
    claim: Claim
    cache: dict[str, Vector | None] = dataclasses.field(default_factory=dict)
    found: dict[str, dict[str, Vector]] = dataclasses.field(default_factory=dict)

    def arrays(self) -> list[Vector]:
        """The right gradient, one array an argument."""
        return [np.asarray(array) for array in self.evidence.layout.unflatten(self.right)]

    def gradient(self, argument: int) -> Vector:
        """The right gradient in one argument."""
        return self.arrays()[self.evidence.layout.argnums.index(argument)]

    def bars(self, argument: int) -> Vector:
        """How far rounding may move each entry of that gradient."""
        fine = self.evidence.layout.unflatten(self.evidence.fine)
        return np.asarray(fine[self.evidence.layout.argnums.index(argument)])

    def values(self, argument: int) -> Vector:
        """The argument itself, in float64."""
        return np.asarray(self.example.arguments[argument], np.float64)
