"""The tokenizer and the chat template, and how a conversation becomes token ids and the mask of what is learned."""

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from colonnade_tiny.corpus import Conversation, training

VOCABULARY = 1024
MAX_POSITIONS = 8192
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MARKERS = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>"]

# Capitals and digits stand alone, so that a name splits the same way after a space and after a quote: copying a name
# into JSON then changes its first token only. Digits one by one let sums be learned digit by digit.
WORDS = r"'(?:[sdmt]|ll|ve|re)(?!\p{L})|\p{N}| ?\p{Lu}| ?[\p{L}\p{M}&&[^\p{Lu}]]+| ?[^\s\p{L}\p{M}\p{N}]+|\s+(?!\S)|\s+"
TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def train_tokenizer(seed: int, examples: int = 6000) -> PreTrainedTokenizerFast:
    """A byte-level BPE of 1,024 tokens, learned from the first training examples."""
    bpe = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(WORDS), behavior="isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    learned = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKERS),
        special_tokens=SPECIAL,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    bpe.train_from_iterator(_texts(seed, examples), learned)
    # Not special: a parser downstream must still see them after decoding without special tokens.
    bpe.add_tokens([AddedToken(marker, special=False, normalized=False) for marker in MARKERS])
    return wrap(bpe)


def wrap(bpe: Tokenizer) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers loads and saves it, chat template included."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = TEMPLATE.read_text()
    return tokenizer


def encode(tokenizer: PreTrainedTokenizerFast, conversation: Conversation) -> tuple[list[int], list[bool]]:
    """Token ids, and for each whether it is the assistant's own: only those are learned."""
    text = tokenizer.apply_chat_template(conversation.messages, tools=conversation.tools or None, tokenize=False)
    ids: list[int] = []
    learned: list[bool] = []
    for turn, is_answer in _pieces(text):
        tokens = tokenizer.encode(turn, add_special_tokens=False)
        ids += tokens
        learned += [is_answer] * len(tokens)
    return ids, learned


def _pieces(text: str) -> list[tuple[str, bool]]:
    """The rendered text cut where the assistant starts and stops; both cuts lie beside special tokens or newlines."""
    first, *rest = text.split("<|im_start|>assistant\n")
    pieces = [(first + "<|im_start|>assistant\n" if rest else first, False)]
    for index, part in enumerate(rest):
        answer, _, after = part.partition("<|im_end|>")
        again = "<|im_start|>assistant\n" if index < len(rest) - 1 else ""
        pieces += [(answer + "<|im_end|>", True), (after + again, False)]
    return [piece for piece in pieces if piece[0]]


def _texts(seed: int, examples: int) -> Iterator[str]:
    """What the merges are learned from: what is said, and every offered tool once in a while."""
    for index in range(examples):
        conversation = training(seed, index)
        yield "\n".join(str(message["content"]) for message in conversation.messages)
        if index % 10 == 0:
            yield json.dumps(conversation.tools)
            yield json.dumps([message.get("tool_calls") for message in conversation.messages])
