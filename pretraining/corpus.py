"""The training texts of the embedded model, freed of everything that is used to measure it.

Reads the public data sets (see `MODEL_CARD.md` for sources and licences) and writes

    texts.jsonl      {"text", "source", "label", "split"}: short sentences
    eval_texts.jsonl the same for BANKING77 and the held-out intents, never trained on
    dialogues.jsonl  {"source", "split", "messages": [{"role", "content"}]}
    answers.jsonl    {"source", "split", "question", "answer"}

`split` is "train" or "held". Held rows (whole CLINC150 domains, one dstc11_faq domain, some
phrasings of small talk) are kept for measuring and never enter training.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

HELD_DOMAINS = ("auto_and_commute", "work")
"""CLINC150 domains whose 30 intents the model never sees."""
HELD_FAQ_DOMAIN = "hotel"
"""The dstc11_faq domain that the model never sees."""
MAX_CHARS = 140
"""Length of the longest text."""
MAX_PLAIN_CHARS = 80
"""The same for texts without a label."""
HAN = re.compile(r"[\u3400-\u9fff]")
"""A Chinese character."""
NEAR = 0.7
"""Jaccard similarity of character 4-grams from which two texts count as near duplicates."""

NEVER = (
    ("banking77", ("train", "test")),
    ("nlupp_banking", ("folds",)),
    ("xsid", ("en_valid", "en_test")),
    ("bbh", ("test",)),
    ("bbq", ("Age", "Religion")),
    ("xquad", ("en",)),
    ("nq_open", ("dev",)),
    ("mathdial", ("test",)),
    ("crows_pairs", ("test",)),
    ("winogender", ("test",)),
    ("winobias", ("dev", "test")),
    ("gap", ("development", "validation")),
    (
        "bold_prompts",
        ("gender_prompt", "political_ideology_prompt", "race_prompt", "religious_ideology_prompt"),
    ),
    ("winogenerated", ("test",)),
    ("anthropic_ai_risk_human", ("test",)),
    ("xstest", ("test",)),
    ("aart", ("test",)),
    ("inthewild_jailbreaks", ("test",)),
    ("bipia", ("email_test", "email_train", "text_attack_test", "text_attack_train")),
)
"""Sets used only to measure: neither their texts nor near duplicates of them are trained on."""

TEST_SPLITS = (
    ("clinc150", ("test", "oos_test")),
    ("restaurant8k", ("test",)),
    ("snips", ("validate",)),
    ("multidogo", ("airline_test", "finance_test", "software_test")),
    ("query_wellformedness", ("test",)),
    ("medquad", ("test",)),
    ("sgd", ("test",)),
    ("topical_chat", ("test_freq",)),
    ("gsm8k", ("test",)),
    ("self_instruct_seeds", ("user_oriented_252",)),
)
"""Test splits of sets whose training split is used: equal texts are dropped, paraphrases stay."""


@dataclass(frozen=True)
class Text:
    """One short sentence with what is known about it."""

    text: str
    source: str
    label: str
    """The intent as "set:name", or "" where there is none."""
    split: str
    """"train" or "held"."""


@dataclass(frozen=True)
class Dialogue:
    """Messages of a conversation, user and assistant in turn."""

    source: str
    split: str
    messages: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Answer:
    """A question with its answer, from a list of frequent questions or of instructions."""

    source: str
    split: str
    question: str
    answer: str


@dataclass(frozen=True)
class Corpus:
    """Everything the recipe reads from the public data sets."""

    texts: tuple[Text, ...]
    evals: tuple[Text, ...]
    dialogues: tuple[Dialogue, ...]
    answers: tuple[Answer, ...]
    dropped: dict[str, int]
    """Rows that the leak filter removed, by source."""


def clean(text: str) -> str:
    """Return the text with single spaces and without spaces before punctuation."""
    text = " ".join(text.split())
    return re.sub(r" (?=[.,!?;:](?:\s|$))|(?<=\w) (?='(?:s|m|re|ve|ll|d|t)\b)", "", text)


def normalise(text: str) -> str:
    """Return the lower-case letters and digits of a text, words separated by one space."""
    return " ".join(re.findall(r"\w+", text.lower()))


def load_rows(data: Path, name: str) -> list[dict[str, Any]]:
    """Return the rows of a JSONL file, plain or gzip, named as "set/split"."""
    path = data / f"{name}.jsonl"
    if path.exists():
        text = path.read_text(encoding="utf-8")
    else:
        with gzip.open(path.with_name(path.name + ".gz"), "rt", encoding="utf-8") as file:
            text = file.read()
    # Not splitlines: the strings hold other line separators of Unicode.
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def strings(value: Any) -> Iterator[str]:
    """Yield every string inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def grams(text: str, size: int = 4) -> frozenset[str]:
    """Return the character n-grams of a normalised text."""
    padded = f" {text} "
    return frozenset(padded[i : i + size] for i in range(max(1, len(padded) - size + 1)))


class LeakFilter:
    """Finds texts that equal, or nearly equal, a text that is used to measure.

    Near duplicates are found exactly (no hashing): two sets of grams with Jaccard similarity of
    at least `near` share one of their rarest `(1 - near) * n + 1` grams.

    Source:
        Prefix filter: Chaudhuri, Ganti, Kaushik (2006), "A primitive operator for similarity
        joins in data cleaning".
    """

    def __init__(self, never: Iterable[str], tests: Iterable[str] = (), near: float = NEAR) -> None:
        """Index the texts of `never` (equal and near) and of `tests` (equal only)."""
        self.near = near
        self.equal = {normalise(t) for t in tests}
        self.equal = {t for t in self.equal if t.count(" ") >= 2}
        known = {n for t in never if (n := normalise(t))}
        self.equal |= known
        sets = [grams(t) for t in known if 10 <= len(t) <= 2 * MAX_CHARS]
        # By size, so that a binary search finds those of comparable length.
        self.sets = sorted(set(sets), key=lambda s: (len(s), sorted(s)))
        self.counts = Counter(g for s in self.sets for g in s)
        self.index: dict[str, list[int]] = {}
        for i, s in enumerate(self.sets):
            for g in self._prefix(s):
                self.index.setdefault(g, []).append(i)
        sizes = [len(s) for s in self.sets]
        self.first = [bisect_left(sizes, n) for n in range(2 * max(sizes, default=0) + 2)]

    def _prefix(self, s: frozenset[str]) -> list[str]:
        ordered = sorted(s, key=lambda g: (self.counts.get(g, 0), g))
        return ordered[: int((1 - self.near) * len(s)) + 1]

    def leaks(self, text: str) -> bool:
        """Tell whether the text equals or nearly equals one that is used to measure."""
        plain = normalise(text)
        if plain in self.equal:
            return True
        if len(plain) < 10:
            return False
        s = grams(plain)
        if len(s) * self.near >= len(self.first):
            return False
        low = self.first[ceil(len(s) * self.near)]
        high = self.first[min(int(len(s) / self.near) + 1, len(self.first) - 1)]
        seen: set[int] = set()
        for g in self._prefix(s):
            found = self.index.get(g, [])
            for i in found[bisect_left(found, low) : bisect_left(found, high)]:
                if i not in seen:
                    seen.add(i)
                    other = self.sets[i]
                    shared = len(s & other)
                    if shared >= self.near * (len(s) + len(other) - shared):
                        return True
        return False


def build_filter(data: Path) -> LeakFilter:
    """Return the filter over every set and split that is used to measure."""

    def texts(groups: tuple[tuple[str, tuple[str, ...]], ...]) -> Iterator[str]:
        for name, splits in groups:
            for split in splits:
                for row in load_rows(data, f"{name}/{split}"):
                    yield from strings(row)

    return LeakFilter(texts(NEVER), texts(TEST_SPLITS))


def held_share(text: str, percent: int) -> bool:
    """Tell whether a text is among the fixed share, chosen by hashes, that is never trained on."""
    number = int(hashlib.sha256(normalise(text).encode()).hexdigest()[:8], 16)
    return number % 100 < percent


def _held(text: str, percent: int) -> str:
    return "held" if held_share(text, percent) else "train"


def _labelled(data: Path) -> Iterator[Text]:
    domains = json.loads((data / "clinc150/domains.json").read_text(encoding="utf-8"))
    held = {intent for domain in HELD_DOMAINS for intent in domains[domain]}
    for split in ("train", "val"):
        for row in load_rows(data, f"clinc150/{split}"):
            where = "held" if row["label"] in held else "train"
            yield Text(row["text"], "clinc150", "clinc:" + row["label"], where)
    for split in ("oos_train", "oos_val"):
        for row in load_rows(data, f"clinc150/{split}"):
            yield Text(row["text"], "clinc150", "", "train")
    for i, row in enumerate(load_rows(data, "ms_chitchat/en-us")):
        for question in row["questions"]:
            yield Text(question, "ms_chitchat", f"chitchat:{i}", _held(question, 12))
    for row in load_rows(data, "snips/train"):
        yield Text(row["text"], "snips", "snips:" + row["label"], "train")


def _plain(data: Path) -> Iterator[tuple[str, str]]:
    for name in ("airline_train", "finance_train", "software_train"):
        for row in load_rows(data, f"multidogo/{name}"):
            yield row["text"], "multidogo"
    for split in ("train", "dev"):
        for row in load_rows(data, f"query_wellformedness/{split}"):
            yield row["text"], "query_wellformedness"
        for row in load_rows(data, f"disfl_qa/{split}"):
            yield row["original"], "disfl_qa"
    for row in load_rows(data, "restaurant8k/train"):
        yield row["text"], "restaurant8k"
    for row in load_rows(data, "cima/all"):
        for message in row["messages"]:
            yield message["content"], "cima"
    for row in load_rows(data, "self_instruct_seeds/seed_tasks"):
        yield row["instruction"], "self_instruct_seeds"


def _answers(data: Path) -> Iterator[Answer]:
    for row in load_rows(data, "dstc11_faq/faqs"):
        where = "held" if row["domain"] == HELD_FAQ_DOMAIN else "train"
        yield Answer("dstc11_faq", where, row["question"], row["answer"])
    for row in load_rows(data, "medquad/train"):
        first = re.split(r"(?<=[.!?])\s+", row["answer"])[0]
        yield Answer("medquad", "train", row["question"], first)
    for row in load_rows(data, "dolly_short/train"):
        yield Answer("dolly_short", "train", row["instruction"], row["response"])
    for row in load_rows(data, "ms_personality_chat/all"):
        yield Answer("personality:" + row["persona"], "train", row["question"], row["answer"])
    for row in load_rows(data, "chatterbot_corpus/en"):
        m = row["messages"]
        if len(m) == 2:
            where = _held(m[0]["content"], 10)
            yield Answer("chatterbot:" + row["topic"], where, m[0]["content"], m[1]["content"])
    for i, row in enumerate(load_rows(data, "ms_chitchat/en-us")):
        yield Answer(f"chitchat:{i}", "train", row["questions"][0], row["answer"])


def _dialogues(data: Path) -> Iterator[Dialogue]:
    names = (
        "sgd/train",
        "sgd/dev",
        "taskmaster4_coffee/all",
        "taskmaster3_movies/reward_contexts",
        "multiwoz21/val",
        "topical_chat/valid_freq",
        "topical_chat/valid_rare",
        "chatterbot_corpus/en",
        "cima/all",
    )
    for name in names:
        for row in load_rows(data, name):
            messages: list[tuple[str, str]] = []
            for message in row["messages"]:
                role, content = message["role"], clean(message["content"])
                if role not in ("user", "assistant") or not content:
                    continue
                if messages and messages[-1][0] == role:
                    messages[-1] = (role, messages[-1][1] + " " + content)
                else:
                    messages.append((role, content))
            if len(messages) > 1:
                source = name.split("/")[0]
                opening = messages[0][1]
                where = _held(opening, 10 if source == "chatterbot_corpus" else 2)
                yield Dialogue(source, where, tuple(messages))


def build(data: Path) -> Corpus:
    """Return the corpus made from the data sets under `data`, leaks removed."""
    leak = build_filter(data)
    dropped: Counter[str] = Counter()
    memo: dict[str, bool] = {}

    def leaks(text: str, source: str) -> bool:
        if text not in memo:
            memo[text] = leak.leaks(text)
        dropped[source] += memo[text]
        return memo[text]

    texts: dict[str, Text] = {}

    def add(row: Text) -> None:
        text = clean(row.text)
        key = normalise(text)
        longest = MAX_CHARS if row.label else MAX_PLAIN_CHARS
        if not 3 < len(text) <= longest or not key or not text.isascii():
            return
        if key in texts:
            # A labelled or held row tells more than a plain one.
            old = texts[key]
            if not old.label and row.label:
                texts[key] = Text(old.text, row.source, row.label, row.split)
            return
        if not leaks(text, row.source):
            texts[key] = Text(text, row.source, row.label, row.split)

    for labelled in _labelled(data):
        add(labelled)
    answers = []
    for answer in _answers(data):
        q, a = clean(answer.question), clean(answer.answer)
        if not 3 < len(q) <= 200 or not 1 < len(a) <= 320:
            continue
        if leaks(q, answer.source) or leaks(a, answer.source):
            continue
        answers.append(Answer(answer.source, answer.split, q, a))
        add(Text(q, answer.source.split(":")[0], "", answer.split))
        if len(a) < 100 and answer.source == "dstc11_faq":
            add(Text(a, answer.source, "", answer.split))
    dialogues = []
    for dialogue in _dialogues(data):
        turns = [t for _, t in dialogue.messages]
        # The assistant's sentences come from templates there and recur in every split.
        if any(
            leaks(t, dialogue.source) for r, t in dialogue.messages if r == "user" and len(t) > 40
        ):
            continue
        dialogues.append(dialogue)
        for turn in turns:
            add(Text(turn, dialogue.source, "", dialogue.split))
    for text, source in _plain(data):
        add(Text(text, source, "", "train"))

    evals = [
        Text(clean(row["text"]), "banking77", f"banking:{row['label']}", split)
        for split in ("train", "test")
        for row in load_rows(data, f"banking77/{split}")
    ]
    # A training text that equals a held-out answer or dialogue turn has been merged into it above;
    # what remains is one row a text.
    return Corpus(
        tuple(texts.values()), tuple(evals), tuple(dialogues), tuple(answers), dict(dropped)
    )


def save(corpus: Corpus, folder: Path) -> None:
    """Write the four JSONL files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)

    def write(name: str, rows: Iterable[dict[str, Any]]) -> None:
        with (folder / name).open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    write("texts.jsonl", (asdict(t) for t in corpus.texts))
    write("eval_texts.jsonl", (asdict(t) for t in corpus.evals))
    write("answers.jsonl", (asdict(a) for a in corpus.answers))
    write(
        "dialogues.jsonl",
        (
            {
                "source": d.source,
                "split": d.split,
                "messages": [{"role": r, "content": c} for r, c in d.messages],
            }
            for d in corpus.dialogues
        ),
    )


def load(folder: Path) -> Corpus:
    """Return the corpus that `save` wrote into a folder."""

    def rows(name: str) -> Iterator[dict[str, Any]]:
        with (folder / name).open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)

    return Corpus(
        texts=tuple(Text(**r) for r in rows("texts.jsonl")),
        evals=tuple(Text(**r) for r in rows("eval_texts.jsonl")),
        dialogues=tuple(
            Dialogue(
                r["source"], r["split"], tuple((m["role"], m["content"]) for m in r["messages"])
            )
            for r in rows("dialogues.jsonl")
        ),
        answers=tuple(Answer(**r) for r in rows("answers.jsonl")),
        dropped={},
    )


def main(data: Path, folder: Path) -> None:
    """Build the corpus and say how many rows came from where."""
    corpus = build(data)
    save(corpus, folder)
    print("texts", len(corpus.texts), Counter(t.source for t in corpus.texts))
    print("held", sum(t.split == "held" for t in corpus.texts), "evals", len(corpus.evals))
    print("dialogues", len(corpus.dialogues), "answers", len(corpus.answers))
    print("dropped as leaks", corpus.dropped)


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Build the corpus of the embedded model.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("pretraining/work"))
    options = parser.parse_args()
    main(options.data, options.work)
