"""Weights in 8-bit floats by block: every value, the products, whole models, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_families
import tiny_llama
import torch
from safetensors.torch import save_file
from test_kernels import batch, check, floats, geometry
from tiny_families import LATENT

from colonnade.engine.blockwise import BlockFloats, blocks_of, exponents, quantised
from colonnade.engine.kernels.native import NativeKernels
from colonnade.engine.kernels.ops import Batch, Kernels, Ops, Value
from colonnade.engine.kernels.reference import TorchKernels
from colonnade.engine.loader import open_weights
from colonnade.wire.errors import BadModel, BadSetting
from colonnade.wire.messages import Sampling

CONFIG: dict[str, Any] = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}


@pytest.fixture(params=["avx2", "portable"])
def instructions(request: pytest.FixtureRequest) -> str:
    return request.param


def blocks(rows: int, columns: int, seed: int = 0) -> BlockFloats:
    """Any code but the two that are not a number; scales of many sizes."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 127, (rows, columns)) | random.integers(0, 2, (rows, columns)) << 7
    scales = random.lognormal(-3, 1, blocks_of((rows, columns)))
    return BlockFloats(codes.astype(np.uint8), scales.astype(np.float32))


def defined(weight: BlockFloats) -> np.ndarray:
    """The definition, number by number, in float64: torch's reading of a code times the scale of its block."""
    numbers = torch.from_numpy(weight.codes).view(torch.float8_e4m3fn).double().numpy()
    wide = np.empty(weight.shape)
    for row in range(weight.shape[0]):
        for column in range(weight.shape[1]):
            wide[row, column] = numbers[row, column] * float(weight.scales[row // 128, column // 128])
    return wide


def test_every_code_has_the_value_that_torch_gives_it() -> None:
    codes = np.arange(256, dtype=np.uint8).reshape(2, 128)
    ours = BlockFloats(codes, np.ones((1, 1), np.float32)).floats()
    np.testing.assert_array_equal(ours, torch.from_numpy(codes).view(torch.float8_e4m3fn).float().numpy())


def test_every_exponent_has_the_value_that_torch_gives_it() -> None:
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(exponents(codes), torch.from_numpy(codes).view(torch.float8_e8m0fnu).float().numpy())


@pytest.mark.parametrize("shape", [(1, 1), (128, 128), (129, 127), (200, 300)])
def test_widened_weights_are_the_definition(shape: tuple[int, int]) -> None:
    weight = blocks(*shape)
    np.testing.assert_array_equal(weight.floats(), defined(weight).astype(np.float32))


def product(weights: list[Any], columns: int) -> Any:
    def build(kernels: Kernels) -> Any:
        table, matrix = kernels.matrix([floats(500, columns)]), kernels.matrix(weights)

        def forward(ops: Ops) -> Value:
            return ops.sampled(ops.linear(ops.embed(table), matrix))

        return forward

    return build


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (7, 5), (70, 128), (130, 300), (300, 515)])
@pytest.mark.parametrize("threads", [1, 2])
def test_products_have_the_bits_of_widened_weights(instructions: str, rows: int, columns: int, threads: int) -> None:
    """So all that is promised of float32 holds: company, chunks and threads leave no trace."""
    parts = [blocks(rows, columns), blocks(rows // 2, columns, seed=1)]
    kernels = NativeKernels(threads, instructions)
    narrow = kernels.program(product(parts, columns)(kernels), geometry())
    wide = kernels.program(product([part.floats() for part in parts], columns)(kernels), geometry())
    for tokens in (1, 2, 3, 6, 7, 40):
        step = batch([(0, 0, tokens)])
        assert np.array_equal(narrow.run(step), wide.run(step))


def test_products_are_those_of_float64(instructions: str) -> None:
    weight, step = blocks(200, 300), batch([(0, 0, 40)])
    kernels = NativeKernels(1, instructions)
    served = kernels.program(product([weight], 300)(kernels), geometry()).run(step)
    expected = floats(500, 300)[step.tokens].astype(np.float64) @ defined(weight).T
    np.testing.assert_allclose(served, expected, atol=1e-5 * np.abs(expected).max())


def test_torch_computes_the_same(instructions: str) -> None:
    check(product([blocks(200, 300), blocks(10, 300)], 300), instructions, [batch([(0, 0, 40)])])


def test_what_is_not_a_number_stays_so(instructions: str) -> None:
    weight = blocks(20, 30)
    weight.codes[3, 4], weight.codes[7, 5] = 0x7F, 0xFF
    kernels = NativeKernels(1, instructions)
    served = kernels.program(product([weight], 30)(kernels), geometry()).run(batch([(0, 0, 2)]))
    assert np.flatnonzero(np.isnan(served).any(0)).tolist() == [3, 7]


def rounded64(x_TK: np.ndarray) -> np.ndarray:
    """The definition in float64: of each 128 of a row, the nearest numbers of E4M3 (of two the even one), where the
    largest is 448. Scale and quotient are float32, as they are stored and divided."""
    numbers = torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn).double().numpy()
    out = np.zeros(x_TK.shape)
    for row, values in enumerate(x_TK):
        for begin in range(0, len(values), 128):
            group = values[begin : begin + 128]
            scale = np.abs(group).max() / np.float32(448)
            sizes = np.abs(group / scale).astype(np.float64) if scale else np.zeros(len(group))
            above = np.minimum(np.searchsorted(numbers, sizes), 126)
            below = np.maximum(above - 1, 0)
            far, near = numbers[above] - sizes, sizes - numbers[below]
            codes = np.where((near < far) | ((near == far) & (below % 2 == 0)), below, above)
            out[row, begin : begin + 128] = np.copysign(numbers[codes], group) * float(scale)
    return out


@pytest.mark.parametrize("kind", ["avx2", "portable", "torch"])
@pytest.mark.parametrize("columns", [5, 128, 300])
def test_rounded_activations_give_the_products_of_float64(kind: str, columns: int) -> None:
    kernels = TorchKernels(rounds=True) if kind == "torch" else NativeKernels(2, kind, rounds=True)
    table, weight = floats(500, columns), blocks(70, columns)
    table[3], table[4, :50] = 0.0, 1e-30
    table[5] = np.linspace(-448, 448, columns, dtype=np.float32).round(1)  # ties, and numbers below the normal ones
    inputs, matrix = kernels.matrix([table]), kernels.matrix([weight])
    program = kernels.program(lambda ops: ops.sampled(ops.linear(ops.embed(inputs), matrix)), geometry())
    served, expected = program.run(batch([(0, 0, 40)])), rounded64(table[:40]) @ defined(weight).T
    np.testing.assert_allclose(served, expected, atol=1e-5 * np.abs(expected).max())
    alone = np.concatenate([program.run(Batch(*one(token))) for token in range(8)])
    assert kind == "torch" or np.array_equal(alone, served[:8])


def one(token: int) -> tuple[np.ndarray, ...]:
    zero = np.zeros(1, np.int32)
    return np.full(1, token, np.int32), zero, zero, np.zeros((1, 1), np.int32), zero


FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("Qwen3", {"hidden_size": 144, "intermediate_size": 200, "num_attention_heads": 10}),
    "deepseek-v3": ("DeepseekV3", LATENT | {"hidden_size": 144, "kv_lora_rank": 136, "moe_intermediate_size": 132}),
}


@pytest.mark.parametrize("family", list(FAMILIES))
@pytest.mark.parametrize("powers", [False, True])
def test_models(tmp_path: Path, family: str, powers: bool) -> None:
    """As transformers computes with the same weights written out; on the native path to the bit."""
    name, config = FAMILIES[family]
    made = tiny_families.make(tmp_path / "made", name, **config | {"initializer_range": 0.1})
    small = tiny_families.quantise(made, tmp_path / "small", powers)
    wide = tiny_families.dequantise(small, tmp_path / "wide")
    for kernels in ("native", "torch"):
        assert tiny_families.parity(tiny_families.Tiny(small.folder, wide.model), kernels) < 1e-4
    loaded = [tiny_llama.load(folder) for folder in (small.folder, wide.folder)]
    assert [it.facts["quantisation"] for it in loaded] == ["fp8-weights", "none"]
    prompt, sampling = tiny_llama.prompt(40), Sampling(temperature=0.0, logprobs=20)
    first, second = (tiny_llama.extend(it.worker, 0, prompt, sampling) for it in loaded)
    assert first == second


def stored(folder: Path, **scales: torch.Tensor) -> list[Path]:
    tensors = {"a.weight": torch.zeros(130, 4).to(torch.float8_e4m3fn), "b": torch.zeros(3)}
    save_file(tensors | {f"a.{name}": value for name, value in scales.items()}, folder / "w.safetensors")
    return [folder / "w.safetensors"]


SHAPES = {"a.weight": (130, 4), "b": (3,)}


def test_scales_belong_to_their_weight(tmp_path: Path) -> None:
    weights = open_weights(stored(tmp_path, weight_scale_inv=torch.ones(2, 1)), SHAPES, quantised=True)
    assert isinstance(weights["a.weight"], BlockFloats)
    assert weights.quantised
    assert weights["a.weight"].shape == (130, 4)


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ({}, r"missing, the first is a\.weight_scale_inv"),
        (
            {"weight_scale_inv": torch.ones(1, 1)},
            r"a\.weight_scale_inv has shape \[1, 1\], config.json asks for \[2, 1\]",
        ),
        ({"weight_scale_inv": torch.ones(2, 1), "other": torch.ones(1)}, r"the first is a\.other"),
        ({"weight_scale_inv": torch.ones(2, 1).to(torch.float8_e4m3fn)}, r"a\.weight_scale_inv has type F8_E4M3"),
    ],
)
def test_scales_that_do_not_fit_are_refused(tmp_path: Path, scales: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(BadModel, match=message):
        open_weights(stored(tmp_path, **scales), SHAPES, quantised=True)


def test_8_bits_need_a_config_that_says_so(tmp_path: Path) -> None:
    files = stored(tmp_path, weight_scale_inv=torch.ones(2, 1))
    with pytest.raises(BadModel, match="has no quantization_config"):
        open_weights(files, SHAPES | {"a.weight_scale_inv": (2, 1)})


def test_only_matrices_are_8_bit(tmp_path: Path) -> None:
    save_file({"n": torch.ones(4).to(torch.float8_e4m3fn), "n_scale_inv": torch.ones(1)}, tmp_path / "w.safetensors")
    with pytest.raises(BadModel, match="n has type F8_E4M3"):
        open_weights([tmp_path / "w.safetensors"], {"n": (4,)}, quantised=True)


@pytest.mark.parametrize(
    "change",
    [
        {"quant_method": "gptq"},
        {"fmt": "e5m2"},
        {"activation_scheme": "static"},
        {"weight_block_size": [64, 64]},
        {"weight_block_size": None},
        {"scale_fmt": "ue4m3"},
    ],
)
def test_other_quantisations_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadModel, match=f"{next(iter(change))} of quantization_config") as caught:
        quantised({"quantization_config": CONFIG | change})
    assert caught.value.hint.startswith("accepted: ")


def test_no_quantisation() -> None:
    assert not quantised({})
    assert quantised({"quantization_config": CONFIG})


@pytest.mark.parametrize("family", list(FAMILIES))
def test_models_with_rounded_activations(tmp_path: Path, family: str) -> None:
    """Native and torch agree, rounding shows, the fingerprint tells; company and chunks leave no trace."""
    name, config = FAMILIES[family]
    made = tiny_families.make(tmp_path / "made", name, **config | {"initializer_range": 0.1})
    folder = tiny_families.quantise(made, tmp_path / "small").folder
    prompt, how = tiny_llama.prompt(40), Sampling(temperature=0.0, logprobs=20)
    plain = tiny_llama.load(folder)
    native, reference = (tiny_llama.load(folder, kernels=each, round_activations=True) for each in ("native", "torch"))
    assert native.facts["quantisation"] == "fp8"
    assert len({it.fingerprint for it in (plain, native, reference)}) == 3
    exact, one, two = (tiny_llama.extend(it.worker, 0, prompt, how).logprob for it in (plain, native, reference))
    shared = dict(one.top).keys() & dict(two.top).keys()
    assert max(abs(dict(one.top)[token] - dict(two.top)[token]) for token in shared) < 2e-2
    assert one != exact
    tiny_llama.extend(native.worker, 1, tiny_llama.prompt(30, seed=2), how, first_page=200)
    assert tiny_llama.extend(native.worker, 2, prompt, how, chunk=7, first_page=300).logprob == one


def test_rounding_is_refused_without_weights_in_8_bits(tmp_path: Path) -> None:
    folder = tiny_families.make(tmp_path / "made", "Qwen2").folder
    with pytest.raises(BadSetting, match="round_activations"):
        tiny_llama.load(folder, round_activations=True)
