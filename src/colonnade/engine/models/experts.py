"""A mixture of experts: a router in float32, the chosen experts, and beside them experts that all tokens share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from colonnade.engine.blockwise import widened
from colonnade.engine.kernels.ops import Kernels, Ops, Routing, Value, Weight
from colonnade.engine.loader import Shape
from colonnade.engine.models.config import Config
from colonnade.engine.models.mlp import MlpShape
from colonnade.wire.errors import BadModel

GATE_UP_DOWN = ("gate_proj", "up_proj", "down_proj")
BIAS = "gate.e_score_correction_bias"


@dataclass(frozen=True, slots=True)
class ExpertsShape:
    hidden: int
    intermediate: int
    routing: Routing
    names: tuple[str, str, str] = GATE_UP_DOWN
    shared: int = 0
    """The width of the shared experts together; 0 for none."""
    corrected: bool = False
    """Whether a bias takes part in the choice."""

    @classmethod
    def of(cls, config: Config, intermediate: int, routing: Routing, **others: object) -> ExpertsShape:
        config.choice("hidden_act", ("silu",), "silu")
        _check(routing)
        return cls(config.count("hidden_size"), intermediate, routing, **others)  # type: ignore[arg-type]

    def expected(self, prefix: str) -> dict[str, Shape]:
        """Tensors by name."""
        shapes: dict[str, Shape] = {f"{prefix}.gate.weight": (self.routing.experts, self.hidden)}
        if self.corrected:
            shapes[f"{prefix}.{BIAS}"] = (self.routing.experts,)
        gate, up, down = self.names
        for expert in range(self.routing.experts):
            shapes[f"{prefix}.experts.{expert}.{gate}.weight"] = (self.intermediate, self.hidden)
            shapes[f"{prefix}.experts.{expert}.{up}.weight"] = (self.intermediate, self.hidden)
            shapes[f"{prefix}.experts.{expert}.{down}.weight"] = (self.hidden, self.intermediate)
        return shapes | (self.beside.expected(f"{prefix}.shared_experts") if self.shared else {})

    @property
    def beside(self) -> MlpShape:
        """The shared experts: one wide layer."""
        return MlpShape(self.hidden, self.shared)

    def bind(self, prefix: str, weights: Mapping[str, Weight], kernels: Kernels) -> Experts:
        return Experts(self, prefix, weights, kernels)


class Experts:
    def __init__(self, shape: ExpertsShape, prefix: str, weights: Mapping[str, Weight], kernels: Kernels) -> None:
        def matrix(expert: int, *names: str) -> object:
            return kernels.matrix([weights[f"{prefix}.experts.{expert}.{name}.weight"] for name in names])

        count, (gate, up, down) = shape.routing.experts, shape.names
        bias = weights[f"{prefix}.{BIAS}"] if shape.corrected else np.zeros(count, np.float32)
        self._routing = shape.routing
        self._router = kernels.matrix([widened(weights[f"{prefix}.gate.weight"])], exact=True)
        self._bias = kernels.vector(bias)
        self._gate_ups = [matrix(expert, gate, up) for expert in range(count)]
        self._downs = [matrix(expert, down) for expert in range(count)]
        shared = f"{prefix}.shared_experts"
        self._shared = shape.beside.bind(shared, weights, kernels) if shape.shared else None

    def __call__(self, ops: Ops, normed: Value, residual: Value) -> Value:
        routes = ops.route(ops.linear(normed, self._router), self._bias, self._routing)
        mixed = ops.experts(normed, routes, self._gate_ups, self._downs, residual)
        return self._shared(ops, normed, mixed) if self._shared else mixed


def _check(routing: Routing) -> None:
    """Raises BadModel for a choice that cannot be made."""
    groups = routing.groups
    if routing.experts % groups or routing.groups_chosen > groups:
        raise BadModel(
            f"config.json: {routing.groups_chosen} of {groups} groups of {routing.experts} experts",
            hint="accepted: a number of groups that divides the experts, and topk_group of at most n_group",
        )
    size = routing.experts // groups
    if routing.chosen > routing.groups_chosen * size or (routing.paired and size < 2):
        raise BadModel(
            f"config.json: {routing.chosen} experts of {routing.groups_chosen} groups of {size}",
            hint="accepted: num_experts_per_tok of at most the experts in topk_group groups"
            + (", and groups of two or more" if routing.paired else ""),
        )
