"""Who is compared, what each needs, and what it can compute. Pure."""

from __future__ import annotations

from dataclasses import dataclass

OURS = "colonnade"
WRITER = ("gguf==0.19.0",)
"""What writes the weights that some peers read."""


@dataclass(frozen=True, slots=True)
class Peer:
    """`packages` are installed into its environment; none: it runs in ours. `reads` GGUF of this kind, by precision;
    empty: the folder itself."""

    name: str
    script: str
    packages: tuple[str, ...]
    reads: dict[str, str]

    def kind(self, precision: str) -> str:
        return self.reads[precision]


PRECISIONS = {
    "fp32": "weights, keys and values in float32",
    "int8": "weights in 8 bits (ours: groups of 128; Q8_0: of 32), keys and values in float16",
}

PEERS = (
    Peer(OURS, "peer_colonnade.py", (), {"fp32": "", "int8": ""}),
    Peer("transformers", "peer_transformers.py", ("torch==2.13.0", "transformers==5.23.0"), {"fp32": ""}),
    Peer("llama.cpp", "peer_llamacpp.py", ("xllamacpp==2026.10.11549", "numpy"), {"fp32": "F32", "int8": "Q8_0"}),
    Peer(
        "openvino",
        "peer_openvino.py",
        ("openvino-genai==2026.4.1.0", "openvino-tokenizers==2026.4.1.0", "numpy"),
        {"fp32": "F16", "int8": "Q8_0"},
    ),
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the table: one peer at one precision."""

    peer: Peer
    precision: str

    @property
    def name(self) -> str:
        return f"{self.peer.name} {self.precision}"


def entries(names: tuple[str, ...], precisions: tuple[str, ...]) -> list[Entry]:
    """Ours is always among them: the others are compared with it. By precision, in the order of the roster."""
    chosen = [peer for peer in PEERS if peer.name == OURS or not names or peer.name in names]
    wanted = precisions or tuple(PRECISIONS)
    return [Entry(peer, each) for each in PRECISIONS if each in wanted for peer in chosen if each in peer.reads]
