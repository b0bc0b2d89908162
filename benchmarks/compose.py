"""Milliseconds to compose a prompt from a pool of examples, beside LangChain's own.

All choose from the same pool with the same vectors: promptbot's nearest selector and `arrange`;
its whole `Composer`, which also fits the prompt into the context and renders a template; LangChain
with FewShotChatMessagePromptTemplate over SemanticSimilarityExampleSelector on InMemoryVectorStore.
Every question is encoded before the clock starts and remembered, so that the encoder counts on no
side; its time is printed apart. They take turns on each question, and the run fails when they
choose different examples.

    python benchmarks/compose.py
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.example_selectors import SemanticSimilarityExampleSelector
from langchain_core.prompts import ChatPromptTemplate, FewShotChatMessagePromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore
from numpy.typing import NDArray

from promptbot import load_encoder, load_model
from promptbot.bot.folder import load_bot
from promptbot.interfaces import Encoder
from promptbot.prompt.compose import Composer
from promptbot.prompt.orders import arrange
from promptbot.prompt.selectors import Pool, make_selector
from promptbot.types import Example, Message

SUBJECTS = [
    "parcel",
    "order",
    "refund",
    "invoice",
    "card",
    "account",
    "kettle",
    "lamp",
    "chair",
    "voucher",
]
EVENTS = ["has not arrived", "came broken", "is lost", "was charged twice", "must be changed"]
PLACES = ["abroad", "at work", "at home", "in Berlin", "in the shop"]
FRAMES = "My {} {} {}.|Hello, the {} {} {}, what now?|Help: {} {} {}|Why is it that my {} {} {}?"


class MemoisingEncoder(Embeddings):
    """An encoder that encodes each text once, with promptbot's and LangChain's interfaces."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, NDArray[np.float32]] = {}
        self.seconds = 0.0
        """Spent inside the encoder so far."""

    @property
    def revision(self) -> str:
        return self._encoder.revision

    @property
    def dimension(self) -> int:
        return self._encoder.dimension

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            started = time.perf_counter()
            self._vectors.update(zip(new, self._encoder.encode(new), strict=True))
            self.seconds += time.perf_counter() - started
        return np.stack([self._vectors[text] for text in texts])  # (n_texts, dimension)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self.encode(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


SYSTEM = "You are the assistant of {{ company }}. Be friendly and brief."


def composer(folder: Path, pool: Sequence[Example], k: int, encoder: Encoder) -> Composer:
    """Return the composer of a bot with this pool, whose tokens the embedded model counts."""
    lines = [{"input": example.input, "output": example.output} for example in pool]
    (folder / "system.j2").write_text(SYSTEM, encoding="utf-8")
    (folder / "examples.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    (folder / "bot.yaml").write_text(
        "name: bench\ndescription: For this benchmark.\nlanguage: en\ntask: chat\n"
        "model: embedded\ntemplate: system.j2\nvars: {company: Acme}\n"
        f"examples: {{file: examples.jsonl, selector: nearest, k: {k}, order: nearest_first}}\n",
        encoding="utf-8",
    )
    model = load_model("embedded")
    return Composer(
        load_bot(str(folder)),
        count_tokens=model.count_tokens,
        context_tokens=model.context_tokens,
        load_encoder=lambda: encoder,
    )


def made_texts(n: int) -> list[str]:
    """Return n different sentences, the same in every run."""
    texts = [
        f"{frame.format(subject, event, place)} (number {number})"
        for number in range(1 + n // 1000)
        for place in PLACES
        for event in EVENTS
        for frame in FRAMES.split("|")
        for subject in SUBJECTS
    ]
    return texts[:n]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pool", type=int, default=1000, help="examples to choose from")
    parser.add_argument("--k", type=int, default=4, help="examples to choose")
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3, help="times that each question is asked")
    parser.add_argument("--encoder", default="embedded", help="spec of the encoder")
    args = parser.parse_args()

    encoder = MemoisingEncoder(load_encoder(args.encoder))
    texts = made_texts(args.pool + args.questions)
    questions = [text.lower() for text in texts[args.pool :]]
    pool = [Example(text, f"Answer {n}.", line=n) for n, text in enumerate(texts[: args.pool], 1)]
    encoder.encode([example.input for example in pool])
    encoding_the_pool = encoder.seconds
    for question in questions:
        encoder.encode([question])
    encoding_a_question = (encoder.seconds - encoding_the_pool) / len(questions)

    selector = make_selector("nearest", Pool(pool, encoder))

    def ours(question: str) -> list[str]:
        chosen = arrange(selector.select(question, args.k), "nearest_first")
        messages = [
            message
            for c in chosen
            for message in (Message("user", c.item.input), Message("assistant", c.item.output))
        ]
        return [message.content for message in messages]

    few_shot = FewShotChatMessagePromptTemplate(
        input_variables=["input"],
        example_selector=SemanticSimilarityExampleSelector.from_examples(
            [{"input": example.input, "output": example.output} for example in pool],
            encoder,
            InMemoryVectorStore,
            k=args.k,
            input_keys=["input"],
        ),
        example_prompt=ChatPromptTemplate.from_messages([("human", "{input}"), ("ai", "{output}")]),
    )

    def langchains(question: str) -> list[str]:
        return [str(message.content) for message in few_shot.format_messages(input=question)]

    with tempfile.TemporaryDirectory() as folder:
        whole = composer(Path(folder), pool, args.k, encoder)

    def composed(question: str) -> list[str]:
        examples = next(p for p in whole.compose(question).parts if p.kind == "examples")
        return [message.content for message in examples.messages]

    contenders: dict[str, Callable[[str], list[str]]] = {
        "selector": ours,
        "composer": composed,
        "langchain": langchains,
    }
    for question in questions:
        if not ours(question) == composed(question) == langchains(question):
            raise SystemExit(f"different examples for {question!r}: the comparison is void")
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(args.rounds):
        for question in questions:
            for name, answer in contenders.items():
                started = time.perf_counter()
                answer(question)
                seconds[name].append(time.perf_counter() - started)

    print(f"{args.k} of {args.pool} examples, {args.encoder} encoder, {len(questions)} questions")
    median = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    for name, milliseconds in median.items():
        print(f"{name:10} {milliseconds:9.3f} ms a question (median, beside the encoder)")
    print(f"encoder    {1000 * encoding_a_question:9.3f} ms a question (mean)")
    for name in ("selector", "composer"):
        print(f"{name}: {median['langchain'] / median[name]:.1f} times as fast as langchain")


if __name__ == "__main__":
    main()
