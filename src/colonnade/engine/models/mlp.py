"""The gated feed-forward layer (SwiGLU, Shazeer, arXiv 2002.05202): gate and up in one matrix, then down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from colonnade.engine.kernels.ops import Kernels, Ops, Value, Weight
from colonnade.engine.loader import Shape
from colonnade.engine.models.config import Config


@dataclass(frozen=True, slots=True)
class MlpShape:
    hidden: int
    intermediate: int
    bias: bool = False

    @classmethod
    def of(cls, config: Config, *, bias: bool = False) -> MlpShape:
        config.choice("hidden_act", ("silu",), "silu")
        return cls(config.count("hidden_size"), config.count("intermediate_size"), bias)

    def expected(self, prefix: str) -> dict[str, Shape]:
        """Tensors by name."""
        shapes: dict[str, Shape] = {
            f"{prefix}.gate_proj.weight": (self.intermediate, self.hidden),
            f"{prefix}.up_proj.weight": (self.intermediate, self.hidden),
            f"{prefix}.down_proj.weight": (self.hidden, self.intermediate),
        }
        if self.bias:
            shapes |= {name.replace(".weight", ".bias"): shape[:1] for name, shape in shapes.items()}
        return shapes

    def bind(self, prefix: str, weights: Mapping[str, Weight], kernels: Kernels) -> Mlp:
        return Mlp(self, prefix, weights, kernels)


class Mlp:
    def __init__(self, shape: MlpShape, prefix: str, weights: Mapping[str, Weight], kernels: Kernels) -> None:
        def parts(*names: str, kind: str = "weight") -> list[Weight]:
            return [weights[f"{prefix}.{name}.{kind}"] for name in names]

        inputs = ("gate_proj", "up_proj")
        self._gate_up = kernels.matrix(parts(*inputs), parts(*inputs, kind="bias") if shape.bias else None)
        self._down = kernels.matrix(parts("down_proj"), parts("down_proj", kind="bias") if shape.bias else None)

    def __call__(self, ops: Ops, normed: Value, residual: Value) -> Value:
        return ops.linear(ops.swiglu(ops.linear(normed, self._gate_up)), self._down, residual)
