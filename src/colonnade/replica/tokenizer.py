"""Text to token ids and back, by a model's tokenizer.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from colonnade.wire.errors import BadModel


class Vocabulary:
    """Raises BadModel for a file that cannot be read. `encode` and `decode` are safe in threads."""

    def __init__(self, path: Path, markers: Sequence[str] = ()) -> None:
        """`markers` stay in the text that is decoded, even where the tokenizer calls them special."""
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise BadModel(f"{path} cannot be read: {error}", hint="copy the file again from its source") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._markers = self._special(markers)
        self._added = frozenset(self._tokenizer.get_added_tokens_decoder())
        self._to_bytes = _spelling(json.loads(self._tokenizer.to_str()).get("decoder"))
        self.token_bytes: Callable[[int], bytes] = lru_cache(maxsize=1 << 16)(self._token_bytes)
        """The bytes that a token stands for; b"" for one that is not in the tokenizer."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """`special`: with what the tokenizer puts around a text (BOS); a rendered chat holds its own."""
        return self._tokenizer.encode(text, add_special_tokens=special).ids

    def encoding(self, text: str, *, special: bool) -> Encoding:
        """The same with `offsets`: where in the text each token stands, in characters."""
        return self._tokenizer.encode(text, add_special_tokens=special)

    def begins(self, token: int) -> bool:
        """Whether no tokenizer in use joins what stands before this token with it: an added token, or a space and the
        first letter of a word, before which all of them split."""
        piece = self.token_bytes(token)
        return token in self._added or (piece[:1] == b" " and piece[1:2].isalpha())

    def decode(self, tokens: Sequence[int]) -> str:
        """Without special tokens, but for the markers. U+FFFD stands for bytes that are no character."""
        if self._markers.keys().isdisjoint(tokens):
            return self._tokenizer.decode(tokens, skip_special_tokens=True)
        runs = groupby(tokens, lambda token: self._markers.get(token, ""))
        return "".join(
            marker * len(list(run)) if marker else self._tokenizer.decode(list(run), skip_special_tokens=True)
            for marker, run in runs
        )

    def _special(self, markers: Sequence[str]) -> dict[int, str]:
        added = self._tokenizer.get_added_tokens_decoder()
        return {token: each.content for token, each in added.items() if each.special and each.content in markers}

    def _token_bytes(self, token: int) -> bytes:
        piece = self._tokenizer.id_to_token(token)
        if piece is None:
            return b""
        return piece.encode() if token in self._added else self._to_bytes(piece)


def _spelling(decoder: object) -> Callable[[str], bytes]:
    """How this tokenizer spells bytes in its pieces: the byte alphabet of GPT-2, or the marks of SentencePiece."""
    return _byte_level if '"ByteLevel"' in json.dumps(decoder) else _sentence_piece


def _byte_alphabet() -> dict[str, int]:
    """The printable character that byte-level BPE writes for each byte (Radford et al. 2019, encoder.py)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + index): byte for index, byte in enumerate(rest)}


_ALPHABET = _byte_alphabet()


def _byte_level(piece: str) -> bytes:
    return bytes(_ALPHABET[char] for char in piece) if all(char in _ALPHABET for char in piece) else piece.encode()


def _sentence_piece(piece: str) -> bytes:
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("▁", " ").encode()
