"""Each stage in plain torch: the definition that the native kernels are tested against, and the path without them.

The only module of the engine that imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from colonnade.engine.blockwise import BLOCK, LARGEST, BlockFloats, widened
from colonnade.engine.columns import by_rows
from colonnade.engine.integers import IntegerRows, product
from colonnade.engine.kernels.ops import Batch, Floats, Geometry, Ints, Ops, Routing, Value, Weight
from colonnade.engine.memory import free_memory
from colonnade.engine.sampler import choose

Matrix = tuple[Tensor | IntegerRows, Tensor | None, bool]
"""Weight, bias, and whether activations are rounded before it."""


class TorchKernels:
    """Not batch invariant: the library under torch chooses its order of summation by the batch's shape."""

    name = "torch"
    version = 1
    batch_invariant = False
    choose = staticmethod(choose)
    draw_rows = staticmethod(by_rows(choose))

    def __init__(
        self, device: str = "cpu", threads: int | None = None, rounds: bool = False, quantize: str = "none"
    ) -> None:
        self.rounds = rounds
        self.quantize = quantize
        self.device = torch.device(device)
        if threads is not None:
            torch.set_num_threads(threads)
        self.threads = torch.get_num_threads()

    def free(self) -> int:
        return torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else free_memory()

    def matrix(
        self, parts_NK: Sequence[Weight], biases_N: Sequence[Weight] | None = None, *, exact: bool = False
    ) -> Matrix:
        bias = None if biases_N is None else torch.cat([self.vector(bias) for bias in biases_N])
        if self.quantize == "int8" and not exact:
            return IntegerRows.of_weight(np.concatenate([widened(part) for part in parts_NK])), bias, False
        rounds = self.rounds and all(isinstance(part, BlockFloats) for part in parts_NK)
        return torch.cat([self.vector(part) for part in parts_NK]), bias, rounds

    def vector(self, values: Weight) -> Tensor:
        return torch.tensor(widened(values), dtype=torch.float32, device=self.device)

    def program(self, forward: Callable[[Ops], Value], geometry: Geometry) -> TorchProgram:
        return TorchProgram(forward, geometry, self.device)


class TorchProgram:
    """Runs the forward function anew each step."""

    def __init__(self, forward: Callable[[Ops], Value], geometry: Geometry, device: torch.device) -> None:
        self._forward = forward
        self._geometry = geometry
        self._device = device
        self._cache: tuple[Tensor, Tensor] | None = None
        self._cosines = torch.tensor(geometry.cosines, device=device)
        self._sines = torch.tensor(geometry.sines, device=device)

    @torch.inference_mode()
    def run(self, batch: Batch) -> Floats:
        return self.step(batch).float().cpu().numpy()

    @torch.inference_mode()
    def hidden(self, batch: Batch) -> Floats | None:
        step = self._step(batch)
        self._forward(step)
        return None if step.kept is None else step.kept.float().cpu().numpy()

    def step(self, batch: Batch) -> Tensor:
        """Logits [S, V], on the device."""
        return self._forward(self._step(batch))

    def _step(self, batch: Batch) -> _Step:
        step = _Step(batch, self._geometry, self._device)
        step.bind(*self._made_cache(), self._cosines, self._sines)
        return step

    def forget(self) -> None:
        self._cache = None

    def _made_cache(self) -> tuple[Tensor, Tensor]:
        """Keys and values, [L, K, P, C] each."""
        if self._cache is None:
            it = self._geometry
            shape = (it.layers, it.kv_heads, it.pages, it.head_dim)
            dtype = torch.float16 if it.kv_dtype == "float16" else torch.float32
            keys = torch.zeros(shape, device=self._device, dtype=dtype)
            self._cache = keys, torch.zeros((0,) if it.value_dim else shape, device=self._device, dtype=dtype)
        return self._cache


class _Step:
    """`Ops` on tensors, for one batch."""

    def __init__(self, batch: Batch, geometry: Geometry, device: torch.device) -> None:
        self._geometry = geometry
        self._device = device
        self._tokens_T = self._long(batch.tokens)
        self._positions_T = self._long(batch.positions)
        self._sampled_S = self._long(batch.sampled)
        self.kept: Tensor | None = None
        self._pages_T = self._long(batch.pages[batch.slots, batch.positions])
        self._runs = [
            (begin, end, self._long(batch.pages[batch.slots[begin], : batch.positions[end - 1] + 1]))
            for begin, end in _runs(batch.slots)
        ]

    def _long(self, numbers: Ints) -> Tensor:
        return torch.tensor(np.asarray(numbers, dtype=np.int64), device=self._device)

    def bind(self, keys_LKPC: Tensor, values_LKPC: Tensor, cosines: Tensor, sines: Tensor) -> None:
        self._keys_LKPC, self._values_LKPC = keys_LKPC, values_LKPC
        self._cosines_TC = cosines[self._positions_T].repeat(1, 2).unsqueeze(1)
        self._sines_TC = sines[self._positions_T].repeat(1, 2).unsqueeze(1)

    def embed(self, table: Matrix) -> Tensor:
        return _tensor(table)[self._tokens_T]

    def rms_norm(self, x: Tensor, weight_D: Tensor, epsilon: float) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight_D

    def linear(self, x: Tensor, matrix: Matrix, residual: Tensor | None = None) -> Tensor:
        weight, bias, rounds = matrix
        if isinstance(weight, IntegerRows):
            y = torch.from_numpy(product(IntegerRows.of_input(x.cpu().numpy()), weight))
            y = y if bias is None else y + bias
        else:
            y = functional.linear(rounded(x) if rounds else x, weight, bias)
        return y if residual is None else residual + y

    def rope_store(self, qkv: Tensor, layer: int) -> Tensor:
        shape = self._geometry
        heads = qkv.unflatten(-1, (-1, shape.head_dim))
        q_THC, k_TKC, v_TKC = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], 1)
        self._keys_LKPC[layer][:, self._pages_T] = self._turn(k_TKC).transpose(0, 1).to(self._keys_LKPC.dtype)
        self._values_LKPC[layer][:, self._pages_T] = v_TKC.transpose(0, 1).to(self._keys_LKPC.dtype)
        return self._turn(q_THC).flatten(1)

    def _turn(self, x: Tensor) -> Tensor:
        """Rotary embedding in the layout of Hugging Face's Llama: the two halves of a head are the two coordinates."""
        left, right = x.chunk(2, -1)
        return x * self._cosines_TC + torch.cat((-right, left), -1) * self._sines_TC

    def head_norm(self, qkv: Tensor, queries_C: Tensor, keys_C: Tensor, epsilon: float) -> Tensor:
        shape = self._geometry
        heads = qkv.unflatten(-1, (-1, shape.head_dim))
        q_THC, k_TKC, v_TKC = heads.split([shape.heads, shape.kv_heads, shape.kv_heads], 1)
        normed = self.rms_norm(q_THC, queries_C, epsilon), self.rms_norm(k_TKC, keys_C, epsilon)
        return torch.cat((*normed, v_TKC), 1).flatten(1)

    def attend(self, q: Tensor, layer: int, window: int = 0) -> Tensor:
        shape = self._geometry
        q_THC = q.unflatten(-1, (-1, shape.head_dim))
        out = q.new_empty(len(q), shape.heads, shape.value_width)
        for begin, end, pages in self._runs:
            keys = self._keys_LKPC[layer][:, pages].float()
            values = keys[..., : shape.value_dim] if shape.value_dim else self._values_LKPC[layer][:, pages].float()
            out[begin:end] = functional.scaled_dot_product_attention(
                q_THC[begin:end].transpose(0, 1),
                keys,
                values,
                attn_mask=self._seen(self._positions_T[begin:end], len(pages), window),
                scale=shape.score_scale,
                enable_gqa=True,
            ).transpose(0, 1)
        return out.flatten(1)

    def _seen(self, positions: Tensor, keys: int, window: int) -> Tensor:
        """[tokens, keys]: whether a token sees a key."""
        behind = positions.unsqueeze(1) - torch.arange(keys, device=self._device)
        return (behind >= 0) & (behind < window) if window else behind >= 0

    def swiglu(self, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, -1)
        return functional.silu(gate) * up

    def keep(self, x: Tensor) -> None:
        self.kept = x

    def sampled(self, x: Tensor) -> Tensor:
        return x[self._sampled_S]

    def columns(self, x: Tensor, first: int, count: int) -> Tensor:
        return x[:, first : first + count]

    def route(self, logits_TE: Tensor, bias_E: Tensor, routing: Routing) -> Tensor:
        scores_TE = logits_TE.sigmoid() if routing.sigmoid else logits_TE.softmax(-1)
        wanted_TE = scores_TE + bias_E
        if routing.groups_chosen < routing.groups:
            groups = wanted_TE.unflatten(-1, (routing.groups, -1))
            worth = groups.topk(2).values.sum(-1) if routing.paired else groups.amax(-1)
            closed = torch.ones_like(worth, dtype=torch.bool).scatter(-1, _best(worth, routing.groups_chosen), False)
            wanted_TE = groups.masked_fill(closed.unsqueeze(-1), -torch.inf).flatten(-2)
        chosen = _best(wanted_TE, routing.chosen).sort().values
        weights = scores_TE.gather(-1, chosen)
        if routing.normalised:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        return torch.cat((chosen.to(weights.dtype), weights * routing.scale), -1)

    def experts(
        self, x: Tensor, routes: Tensor, gate_ups: Sequence[Matrix], downs: Sequence[Matrix], residual: Tensor
    ) -> Tensor:
        chosen, weights = routes.chunk(2, -1)
        out = torch.zeros_like(residual)
        for expert in chosen.unique().long().tolist():
            rows, places = torch.where(chosen == expert)
            made = self.linear(self.swiglu(self.linear(x[rows], gate_ups[expert])), downs[expert])
            out[rows] += weights[rows, places].unsqueeze(-1) * made
        return residual + out

    def per_head(self, x: Tensor, matrices: Sequence[Matrix]) -> Tensor:
        heads = x.unflatten(-1, (len(matrices), -1)).unbind(1)
        pairs = zip(heads, matrices, strict=True)
        return torch.cat([self.linear(head[:, : _tensor(matrix).shape[1]], matrix) for head, matrix in pairs], -1)

    def latent_store(self, absorbed: Tensor, q: Tensor, latent: Tensor, key: Tensor, layer: int) -> Tensor:
        shape = self._geometry
        turned = shape.head_dim - shape.value_dim
        row = torch.cat((latent, self._turn_pairs(key[:, None, -turned:])[:, 0]), -1)
        self._keys_LKPC[layer][0, self._pages_T] = row.to(self._keys_LKPC.dtype)
        ends = self._turn_pairs(q.unflatten(-1, (shape.heads, -1))[..., -turned:])
        return torch.cat((absorbed.unflatten(-1, (shape.heads, -1)), ends), -1).flatten(1)

    def _turn_pairs(self, x: Tensor) -> Tensor:
        """Rotary embedding in DeepSeek's layout: neighbours are the two coordinates."""
        cosines, sines = self._cosines_TC.chunk(2, -1)[0], self._sines_TC.chunk(2, -1)[0]
        left, right = x[..., 0::2], x[..., 1::2]
        return torch.stack((left * cosines - right * sines, right * cosines + left * sines), -1).flatten(-2)


def rounded(x: Tensor) -> Tensor:
    """To E4M3 and back, with a scale of (largest magnitude / 448) for each 128 of a row."""
    groups = functional.pad(x, (0, -x.shape[-1] % BLOCK)).unflatten(-1, (-1, BLOCK))
    scales = groups.abs().amax(-1, keepdim=True) / LARGEST
    codes = (groups / scales.where(scales > 0, 1.0)).to(torch.float8_e4m3fn)
    return (codes.to(x.dtype) * scales).flatten(-2)[..., : x.shape[-1]]


def _tensor(matrix: Matrix) -> Tensor:
    assert isinstance(matrix[0], Tensor), "tables and the matrices of heads are exact"
    return matrix[0]


def _best(scores: Tensor, count: int) -> Tensor:
    """The places of the largest; of equals the first."""
    return scores.sort(dim=-1, descending=True, stable=True).indices[..., :count]


def _runs(slots_T: Ints) -> Iterator[tuple[int, int]]:
    """[begin, end) of the rows of each slot."""
    edges = [0, *(np.flatnonzero(np.diff(slots_T)) + 1).tolist(), len(slots_T)]
    return pairwise(edges)
