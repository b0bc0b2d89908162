"""The byte-level BPE tokenizer of the embedded model, and how messages become tokens.

A message is written as `<|role|>`, a space, its stripped text, `<|end|>`. The space belongs to the
chat template: so a text has the same tokens at the start of a message as after "A:" in a note, and
copying a note is copying tokens. Single digits are tokens, so that any number can be copied.

Words are whole where they can be: the two layers that read a message understand a word that is one
token far better than one in pieces. With 8,192 tokens 181 of 212 held-out questions for notes had
words in pieces, and the cosine of their summaries to the teacher was .81 without such a word, .68
with one and .61 with two (the embedded encoder, which reads whole words: .84 or .85).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

from pretraining import teacher
from pretraining.corpus import Corpus

VOCABULARY = 23_000
"""With the Chinese characters as many as fit into a file of 20 MB, since a tensor is not split."""
WORD_COUNT = 20
"""How often each English word of the teacher's vocabulary counts besides the corpus: what users ask
of any trade has words that dialogues of a few trades lack."""
SPECIAL = ("<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
PAD, SYSTEM, USER, ASSISTANT, END = range(len(SPECIAL))
ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}
PATTERN = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
SPACE = "\u0120"
"""How the vocabulary spells a space."""
QUOTED = 1500
"""Of how many the form that opens a quotation or a line, without a space, counts as well. What is
copied from there is said with a space: of "S", "leep" the first does not tell of "Sleep"."""
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|> ' + message['content'].strip() + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def build(lines: Iterable[str], size: int = VOCABULARY) -> Tokenizer:
    """Return a byte-level BPE tokenizer trained on the lines; any text round-trips."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def with_characters(tokenizer: Tokenizer, characters: Iterable[str]) -> Tokenizer:
    """Return the tokenizer with characters of several bytes as tokens of their own, at the end.

    What is written without these characters keeps its tokens: the merges of their bytes come
    last, and no other character begins with the same ones.
    """
    from tokenizers import Tokenizer, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    printable = [b for b in range(256) if chr(b) in letters]
    # Bytes without a printable sign are written as the letters from U+0100 on (GPT-2's table).
    table = {b: chr(b) for b in printable}
    rest = [b for b in range(256) if b not in table]
    table.update((b, chr(256 + i)) for i, b in enumerate(rest))
    stored = json.loads(tokenizer.to_str())
    vocabulary: dict[str, int] = stored["model"]["vocab"]
    merges: list[list[str]] = stored["model"]["merges"]
    for character in characters:
        signs = [table[b] for b in character.encode()]
        left = signs[0]
        for right in signs[1:]:
            if left + right not in vocabulary:
                vocabulary[left + right] = len(vocabulary)
                merges.append([left, right])
            left += right
    return Tokenizer.from_str(json.dumps(stored))


def common_words() -> list[str]:
    """Return the English words of the teacher's vocabulary, in lower case, frequent ones first."""
    return [w for w in spelt(load(teacher.model_path())) if re.fullmatch("[a-z]{3,}", w)]


def training_lines(corpus: Corpus) -> Iterator[str]:
    """Yield what the tokenizer learns from: every training text, with the template's space."""
    words = common_words()
    for word in words:
        yield from [" " + word] * WORD_COUNT
    for word in words[:QUOTED]:
        yield from [f'"{word.capitalize()}'] * (2 * WORD_COUNT)
    for text in corpus.texts:
        if text.split == "train":
            yield " " + text.text
    for answer in corpus.answers:
        if answer.split == "train":
            yield " " + answer.answer
    for dialogue in corpus.dialogues:
        if dialogue.split == "train":
            for _, content in dialogue.messages:
                yield " " + content


def load(folder: Path) -> Tokenizer:
    """Return the tokenizer stored as `tokenizer.json` in a folder."""
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def spelt(tokenizer: Tokenizer) -> list[str]:
    """Return how each token is spelt, by its number."""
    found = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return [token for token, _ in found]


def places(known: Tokenizer, tokenizer: Tokenizer, before: str = "") -> list[int]:
    """Return each token's number in another vocabulary, or -1, by what it spells after `before`."""
    numbers = known.get_vocab()
    return [numbers.get(before + token, -1) for token in spelt(tokenizer)]
