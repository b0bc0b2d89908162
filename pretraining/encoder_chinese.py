"""Chinese characters for the embedded encoder, learned by contrast after the English student.

The teacher reads hardly any Chinese, so there is nothing to distil. Instead every character gets a
row of its own, and only these rows are trained: two views of one text (characters left out at
random, a part cut away) and two phrasings of one matter shall lie closer than other texts of the
batch. What English text gives is not changed by a bit. Chinese and English texts are not aligned.

Source:
    Contrast of two views: Gao, Yao, Chen (2021), arXiv:2104.08821; Giorgi et al. (2021),
    arXiv:2006.03659.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn

from pretraining.corpus import HAN, LeakFilter, load_rows, strings
from pretraining.encoder import FREQUENT, PIECE_RMS, Student

NEVER = (
    ("xsid", ("zh_valid", "zh_test")),
    ("fewclue_tnews", ("dev_0", "dev_few_all", "test_public", "train_0", "train_few_all")),
    ("fewclue_bustm", ("dev_0", "dev_few_all", "test_public", "train_0", "train_few_all")),
    ("cbbq_zh", ("disease",)),
    ("xquad", ("zh",)),
    ("cmrc2018_zh", ("dev",)),
    ("crosswoz_zh", ("test",)),
    ("kdconv_zh", ("test",)),
)
"""Sets and splits that only measure."""
MIN_COUNT = 3
"""A character that stands in fewer texts stays unknown."""
MAX_CHARS = 32
"""Texts are cut here while training."""
BATCH_INTENTS, BATCH_PAIRS, BATCH_VIEWS = 48, 40, 48
"""Pairs of a batch: phrasings of different intents, title and question, views of one text."""
N_STEPS = 600
TEMPERATURE = 0.05
LEFT_OUT = 0.25
"""Share of the characters that a view leaves out."""


@dataclass(frozen=True)
class ChineseTexts:
    """What the characters are learned from."""

    intents: tuple[tuple[str, ...], ...]
    """Phrasings of one matter each."""
    pairs: tuple[tuple[str, str], ...]
    """Two texts on one matter: a post's title and its question."""
    singles: tuple[str, ...]
    """Texts on their own."""

    def all(self) -> Iterator[str]:
        """Yield every text."""
        for intent in self.intents:
            yield from intent
        for pair in self.pairs:
            yield from pair
        yield from self.singles


def leak_filter(data: Path) -> LeakFilter:
    """Return the filter over every Chinese set and split that is used to measure."""
    return LeakFilter(
        text
        for name, splits in NEVER
        for split in splits
        for row in load_rows(data, f"{name}/{split}")
        for text in strings(row)
    )


def load_texts(data: Path) -> ChineseTexts:
    """Return the Chinese training texts, without those near a text that is used to measure."""
    leak = leak_filter(data)

    def good(text: str) -> bool:
        return len(HAN.findall(text)) > 1 and not leak.leaks(text[:MAX_CHARS])

    wordings = [row["questions"] for row in load_rows(data, "ms_chitchat/zh-cn")]
    own = Path(__file__).with_name("matters_zh.txt").read_text(encoding="utf-8")
    wordings += [line.split(" | ") for line in own.splitlines() if not line.startswith("#")]
    intents = tuple(
        kept for texts in wordings if len(kept := tuple(text for text in texts if good(text))) > 1
    )
    pairs = tuple(
        (row["title"], row["question"])
        for row in load_rows(data, "chinese_medical_sample/sample")
        if good(row["title"]) and good(row["question"]) and row["title"] != row["question"]
    )
    singles: dict[str, None] = {}
    for name in (
        "crosswoz_zh/val",
        "kdconv_zh/dev",
        "lccc_toy_zh/pairs_train",
        "smile_zh/train",
        "chatterbot_corpus/zh",
    ):
        for row in load_rows(data, name):
            singles.update((message["content"], None) for message in row["messages"])
    for name in ("cmrc2018_zh/trial", "drcd_zh_hant/dev"):
        for row in load_rows(data, name):
            singles.update((question["question"], None) for question in row["qas"])
    return ChineseTexts(intents, pairs, tuple(text for text in singles if good(text)))


def add_characters(tokenizer: Tokenizer, texts: Sequence[str]) -> Tokenizer:
    """Return the tokenizer with the texts' further characters as pieces at the end."""
    from tokenizers.models import WordPiece

    stored = json.loads(tokenizer.to_str())
    pieces: dict[str, int] = dict(stored["model"]["vocab"])
    counts = Counter(character for text in texts for character in set(text))
    # The normaliser and the splitting make a word of every Chinese character.
    wanted = sorted(c for c, n in counts.items() if n >= MIN_COUNT and ord(c) >= 0x3000)
    for character in wanted:
        pieces.setdefault(character, len(pieces))
    made = Tokenizer(WordPiece(pieces, unk_token="[UNK]", max_input_chars_per_word=64))
    made.normalizer = tokenizer.normalizer
    made.pre_tokenizer = tokenizer.pre_tokenizer
    return made


def view(text: str, rng: random.Random) -> str:
    """Return part of a text: up to a third cut from one end, some characters left out."""
    text = text[: 2 * MAX_CHARS]
    cut = rng.randrange(1 + len(text) // 3)
    text = text[cut:] if rng.random() < 0.5 else text[: len(text) - cut]
    return "".join(c for c in text if rng.random() > LEFT_OUT) or text


def batches(texts: ChineseTexts, seed: int) -> Iterator[tuple[list[str], list[str]]]:
    """Yield batches of pairs without end: the first and the second text of every pair."""
    rng = random.Random(seed)
    while True:
        pairs = [
            tuple(rng.sample(intent, 2))
            for intent in rng.sample(texts.intents, min(BATCH_INTENTS, len(texts.intents)))
        ]
        pairs += rng.sample(texts.pairs, min(BATCH_PAIRS, len(texts.pairs)))
        for text in rng.sample(texts.singles, min(BATCH_VIEWS, len(texts.singles))):
            pairs.append((view(text, rng), view(text, rng)))
        yield [first for first, _ in pairs], [second for _, second in pairs]


def train(
    student: Student,
    tokenizer: Tokenizer,
    texts: ChineseTexts,
    n_steps: int = N_STEPS,
    seed: int = 0,
) -> tuple[Student, Tokenizer]:
    """Return the student with rows for Chinese characters, and the tokenizer that knows them."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    every = list(texts.all())
    extended = add_characters(tokenizer, every)
    extended.enable_truncation(MAX_CHARS)
    old, width = student.rows.weight.shape
    counts = np.zeros(extended.get_vocab_size())
    for encoding in extended.encode_batch_fast(every, add_special_tokens=False):
        np.add.at(counts, encoding.ids, 1)
    weight = FREQUENT / (FREQUENT + counts[old:] / counts.sum())
    fresh = torch.randn(len(weight), width) * PIECE_RMS * torch.from_numpy(weight).float()[:, None]

    grown = Student(student.sizes, len(counts))
    state = student.state_dict()
    state["rows.weight"] = torch.cat([state["rows.weight"], fresh])
    grown.load_state_dict(state)
    grown.requires_grad_(False)
    english = grown.rows.weight[:old].clone()
    grown.rows.weight.requires_grad_(True)
    optimizer = torch.optim.Adam([grown.rows.weight], lr=2e-2)

    def encode(batch: Sequence[str]) -> torch.Tensor:
        tokens: list[NDArray[np.int32]] = [
            np.array(e.ids or [0], dtype=np.int32)
            for e in extended.encode_batch_fast(list(batch), add_special_tokens=False)
        ]
        vectors: torch.Tensor = grown(tokens)
        return vectors

    total = 0.0
    for step, (first, second) in enumerate(batches(texts, seed), 1):
        if step > n_steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = 2e-2 * (1 - (step - 1) / n_steps)
        both = encode([*first, *second])
        scores = both[: len(first)] @ both[len(first) :].T / TEMPERATURE  # (n_pairs, n_pairs)
        target = torch.arange(len(first))
        loss = nn.functional.cross_entropy(scores, target)
        loss = (loss + nn.functional.cross_entropy(scores.T, target)) / 2
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        assert grown.rows.weight.grad is not None
        grown.rows.weight.grad[:old] = 0
        optimizer.step()
        total += float(loss.detach())
        if step % 20 == 0:
            print(f"Chinese: step {step} of {n_steps}: contrast {total / 20:.3f} nats", flush=True)
            total = 0.0
    assert torch.equal(grown.rows.weight[:old], english)
    extended.no_truncation()
    return grown, extended
