"""What the embedded model can do on data that its training never saw, through promptbot's chains.

    python -m benchmarks.embedded_model [--n 150] [--banking 3080] [--json FILE]

Greedy, the weights that ship, prompts composed by a bot; each share with its Wilson interval and
the bar that it should reach. Needs the public sets (`--data`) and the corpus that
`python -m pretraining` makes of them (`--work`), since it knows what was held out. The last lines
are Chinese, and the size and speed of the shipped folder; set OMP_NUM_THREADS=1 for those of one
core.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from benchmarks.encoder import PER_LABEL, POOL_SEEDS, load_split, nearest_accuracy, pool_of, wilson
from promptbot.bot.folder import Bot, load_bot
from promptbot.chain import Chain, InMemoryHistory, load_chain
from promptbot.models.encoder import load_encoder
from promptbot.models.messages import to_langchain
from promptbot.models.registry import load_model
from promptbot.prompt.knowledge import Knowledge
from promptbot.types import Example, Message, Note, Sample

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder, FrozenModel
    from promptbot.models.local import LocalChatModel

PLAIN_BOT = """\
name: plain
task: chat
template: system.j2
examples: {file: examples.jsonl, selector: fixed, k: 2}
memory: {kind: window, max_tokens: 600}
decoding: {temperature: 0.0, max_new_tokens: 60}
vars: {prompt: ""}
"""
"""A bot whose whole system prompt is a variable."""


@dataclass(frozen=True)
class Row:
    """One ability: how often the answer was right, and how often it should be."""

    ability: str
    right: int
    n: int
    bar: float | None = None
    """Share that should be reached; None where it is only reported."""
    at_most: bool = False
    """Whether the bar is an upper bound."""

    @property
    def share(self) -> float:
        """Right answers of all, from 0 to 1."""
        return self.right / max(1, self.n)

    def line(self) -> str:
        """Return it as a row of a Markdown table."""
        low, high = wilson(self.share, max(1, self.n))
        bar, met = "", ""
        if self.bar is not None:
            bar = f"{'at most' if self.at_most else 'at least'} {self.bar:.1%}"
            met = (
                "yes"
                if (self.share <= self.bar if self.at_most else self.share >= self.bar)
                else "no"
            )
        return (
            f"| {self.ability} | {self.right}/{self.n} | {self.share:.1%} "
            f"({low:.1%} to {high:.1%}) | {bar} | {met} |"
        )  # fmt: skip


def classifier(
    model: FrozenModel, encoder: Encoder, pool: Sequence[tuple[str, str]], names: Mapping[str, str]
) -> Chain:
    """Return the shipped intents bot over another pool, its labels worded by `names`."""
    bot = load_bot("intents")
    labels = {label: [names[label]] for label in sorted({label for _, label in pool})}
    examples = tuple(Example(text, names[label], label) for text, label in pool)
    bot = replace(bot, spec=bot.spec.model_copy(update={"labels": labels}), examples=examples)
    return load_chain(bot, model=model, encoder=encoder)


def count_labels(chain: Chain, texts: Sequence[str], labels: Sequence[str]) -> int:
    """Return how many texts get their label."""
    pairs = enumerate(zip(texts, labels, strict=True))
    samples = [Sample(str(i), text, label) for i, (text, label) in pairs]
    return sum(p.label == s.target for p, s in zip(chain.predict(samples), samples, strict=True))


def banking(
    model: FrozenModel, encoder: Encoder, data: Path, n: int, words: list[str]
) -> Iterator[Row]:
    """Yield accuracy on BANKING77, real and random label names, beside the nearest example."""
    train, train_labels = load_split(data, "banking77/train")
    test, test_labels = load_split(data, "banking77/test")
    chosen = sorted(Random(0).sample(range(len(test)), min(n, len(test))))
    texts, labels = [test[i] for i in chosen], test_labels[chosen]
    pool_vectors, queries = encoder.encode(train), encoder.encode(texts)
    right = dict.fromkeys(("real", "random"), 0)
    nearest = 0
    for seed in POOL_SEEDS:
        rows = pool_of(train_labels, PER_LABEL, seed)
        pool = [(train[i], str(train_labels[i])) for i in rows]
        nearest += round(
            len(texts) * nearest_accuracy(pool_vectors[rows], train_labels[rows], queries, labels)
        )
        r = Random(seed)
        every = sorted(set(map(str, train_labels)))
        names = {
            "real": {x: x.replace("_", " ").strip("?").lower() for x in every},
            "random": {x: " ".join(r.sample(words, 2)) for x in every},
        }
        for kind, wording in names.items():
            chain = classifier(model, encoder, pool, wording)
            right[kind] += count_labels(chain, texts, list(map(str, labels)))
    total = len(texts) * len(POOL_SEEDS)
    yield Row("BANKING77, nearest example alone (1-NN)", nearest, total)
    yield Row("BANKING77, labels scored", right["real"], total, nearest / total + 0.02)
    yield Row(
        "BANKING77, labels renamed to random words",
        right["random"],
        total,
        right["real"] / total - 0.05,
    )


def xsid(model: FrozenModel, encoder: Encoder, data: Path) -> Iterator[Row]:
    """Yield accuracy on the Chinese part of xSID, beside the nearest example."""
    train, train_labels = load_split(data, "xsid/zh_valid")
    test, labels = load_split(data, "xsid/zh_test")
    names = {str(x): str(x).replace("/", " ").replace("_", " ").lower() for x in train_labels}
    pool = list(zip(train, map(str, train_labels), strict=True))
    share = nearest_accuracy(encoder.encode(train), train_labels, encoder.encode(test), labels)
    yield Row("Chinese: xSID, nearest example alone (1-NN)", round(share * len(test)), len(test))
    known = set(map(str, train_labels))
    kept = [(t, str(x)) for t, x in zip(test, labels, strict=True) if str(x) in known]
    chain = classifier(model, encoder, pool, names)
    right = count_labels(chain, [t for t, _ in kept], [x for _, x in kept])
    yield Row("Chinese: xSID, labels scored", right, len(test))


def notes(model: FrozenModel, encoder: Encoder, cases: Sequence[Any]) -> Iterator[Row]:
    """Yield how often the right note is answered, and the fallback said where none fits.

    With three notes shown and with the nearest of them alone, each always beside an offer of the
    fallback, and as the shipped bots do: a far note left out, a near one not doubted. Beside that,
    what similarity alone does, by the embedded encoder and by its teacher.
    """
    n_with = sum(bool(case.answer) for case in cases)
    n_false = 0
    for n_shown, name in ((3, "notes"), (1, "notes, the nearest alone")):
        for weighed in (False, True):
            exact, false, fell = answers_from_notes(model, encoder, cases, n_shown, weighed)
            bars = (0.9, 0.05, 0.85) if n_shown == 3 and not weighed else (None, None, None)
            part = f"{name}, by similarity" if weighed else name
            yield Row(f"{part}: the exact answer where it is shown", exact, n_with, bars[0])
            yield Row(
                f"{part}: fallback although it is shown", false, n_with, bars[1], at_most=True
            )
            yield Row(f"{part}: fallback where none fits", fell, len(cases) - n_with, bars[2])
            n_false = false
    for name, vectors in (("encoder", encoder), ("teacher", load_encoder("teacher"))):
        yield from nearest_notes(f"notes, nearest by the {name}", vectors, cases, n_false)


def answers_from_notes(
    model: FrozenModel, encoder: Encoder, cases: Sequence[Any], n_shown: int, weighed: bool
) -> tuple[int, int, int]:
    """Return how many answers are right, fallbacks false and fallbacks right, n notes shown.

    `weighed`: whether, as in the shipped bots, a far note is left out and a near one not doubted.
    """
    from pretraining.measure import FALLBACK

    base = load_bot("customer_service", "zero_shot")
    assert base.spec.knowledge is not None
    limits = {} if weighed else {"min_similarity": None}
    update: dict[str, Any] = {
        "guard": base.spec.guard.model_copy(update={"fallback": FALLBACK}),
        "knowledge": base.spec.knowledge.model_copy(update={"k": n_shown, **limits}),
    }
    variables = base.spec.vars if weighed else {**base.spec.vars, "sure": 1}
    exact = false = fell = 0
    for case in cases:
        spec = base.spec.model_copy(update={**update, "vars": {**variables, "company": case.name}})
        bot = replace(base, spec=spec, notes=tuple(Note(q, a, "case") for q, a in case.notes))
        reply = load_chain(bot, model=model, encoder=encoder).invoke(case.question).text
        if case.answer:
            exact += reply == case.answer
            false += reply == FALLBACK
        else:
            fell += reply == FALLBACK
    return exact, false, fell


def nearest_notes(name: str, encoder: Encoder, cases: Sequence[Any], n_false: int) -> Iterator[Row]:
    """Yield what similarity alone does: the nearest note, unless it is farther than a threshold.

    Under two thresholds: it falls back `n_false` times although the note is shown, as the model
    does, and in one of twenty of these cases, as the bar asks.
    """
    found: list[tuple[float, str, str]] = []  # similarity, its note's answer, the right answer
    for case in cases:
        notes = tuple(Note(q, a, "case") for q, a in case.notes)
        [best] = Knowledge(notes, encoder).retrieve(case.question, 1)
        found.append((best.similarity or 0.0, best.item.answer, case.answer))
    shown = sorted(s for s, _, wanted in found if wanted)
    for n, at in ((n_false, "as many false fallbacks"), (len(shown) // 20, "5% false fallbacks")):
        threshold = [*shown, math.inf][n]
        right = sum(s >= threshold and answer == wanted for s, answer, wanted in found)
        yield Row(f"{name}, {at}: the exact answer", right, len(shown))
        fell = sum(s < threshold and not wanted for s, _, wanted in found)
        yield Row(f"{name}, {at}: fallback where none fits", fell, len(found) - len(shown))


def plain_bot(folder: Path) -> Bot:
    """Return a bot whose whole system prompt is the variable `prompt`."""
    (folder / "bot.yaml").write_text(PLAIN_BOT, encoding="utf-8")
    (folder / "system.j2").write_text("{{ prompt }}", encoding="utf-8")
    lines = '{"input": "a", "output": "b"}\n{"input": "c", "output": "d"}\n'
    (folder / "examples.jsonl").write_text(lines, encoding="utf-8")
    return load_bot(folder)


def chats(
    model: FrozenModel,
    name: str,
    cases: Sequence[Any],
    bar: float | None,
    *,
    shown: bool = False,
) -> Row:
    """Return how often the reply to a case is right.

    The turns between the system prompt and the question are the conversation so far, or, with
    `shown`, the bot's examples.
    """
    right = 0
    with tempfile.TemporaryDirectory() as folder:
        base = plain_bot(Path(folder))
        for case in cases:
            system, *between, question = case.turns
            pairs = list(zip(between[::2], between[1::2], strict=True))
            examples = tuple(Example(a.content, b.content) for a, b in pairs) if shown else ()
            update: dict[str, Any] = {"vars": {"prompt": system.content}, "examples": None}
            if examples and base.spec.examples:
                update["examples"] = base.spec.examples.model_copy(update={"k": len(examples)})
            spec = base.spec.model_copy(update=update)
            history = InMemoryHistory()
            if not shown:
                history.append("s", [Message(turn.role, turn.content) for turn in between])
            bot = replace(base, spec=spec, examples=examples)
            chain = load_chain(bot, model=model, history=history)
            reply = chain.invoke({"input": question.content, "session": "s"}).text
            found = case.wanted.lower() in reply.lower() if case.loose else reply == case.wanted
            right += found
    return Row(name, right, len(cases), bar)


def kefu(model: FrozenModel, encoder: Encoder) -> Row:
    """Return how often the Chinese bot answers its own notes, asked in their own words."""
    bot = load_bot("kefu")
    chain = load_chain(bot, model=model, encoder=encoder)
    right = sum(chain.invoke(note.question).text == note.answer for note in bot.notes)
    return Row("Chinese: kefu's own notes, in their own words", right, len(bot.notes), 0.8)


def chinese_talk(held: Any, n: int) -> list[Any]:
    """Return held-out phrasings of Chinese small talk; the class's own answer is wanted."""
    from pretraining.episodes import system, user
    from pretraining.measure import Case

    pairs = Random(2).sample(held.chinese.held_talk, min(n, len(held.chinese.held_talk)))
    return [Case((system("你是一个友好的助手。回答要简短。"), user(q)), a) for q, a in pairs]


@dataclass(frozen=True)
class Fluency:
    """How well a model predicts written replies, and how its own repeat themselves."""

    bits_per_byte: float
    """Of the assistant's messages of held-out dialogues, each after those before it."""
    repetition: float
    """Share of the 4-grams of words in its own replies that stood in the same reply before, 0 to 1.

    Source:
        "seq-rep-4" of Welleck et al. (2019), arXiv:1908.04319, section 6.
    """
    n_messages: int

    def line(self) -> str:
        """Return it as a sentence."""
        return (
            f"fluency: {self.bits_per_byte:.2f} bits per byte (perplexity per byte "
            f"{2**self.bits_per_byte:.2f}) over {self.n_messages} messages of held-out dialogues; "
            f"{self.repetition:.1%} of the 4-grams in its own replies there are repetitions"
        )


def fluency(model: FrozenModel, dialogues: Sequence[Any], n: int) -> Fluency:
    """Return the fluency on the first n held-out dialogues of the training families."""
    nats, n_bytes, n_messages, again, grams = 0.0, 0, 0, 0, 0
    for dialogue in [d for d in dialogues if d.split == "held"][:n]:
        messages = [Message(role, text) for role, text in dialogue.messages[:8]]
        for i, message in enumerate(messages):
            if message.role != "assistant" or not i:
                continue
            nats -= model.score(messages[:i], [message.content])[0].logprob
            n_bytes += len(message.content.encode())
            n_messages += 1
        last = max((i for i, m in enumerate(messages) if m.role == "user"), default=0)
        answer = model.invoke(to_langchain(messages[: last + 1]), max_new_tokens=60)
        reply = str(answer.text).split()
        found = [tuple(reply[i : i + 4]) for i in range(len(reply) - 3)]
        grams += len(found)
        again += len(found) - len(set(found))
    return Fluency(nats / math.log(2) / max(1, n_bytes), again / max(1, grams), n_messages)


def speed() -> str:
    """Return size, seconds to load, and tokens decoded per second."""
    from benchmarks.engines import greedy, prompt_of

    started = time.perf_counter()
    model: LocalChatModel = load_model("embedded")  # type: ignore[assignment]
    model.score([Message("user", "hi")], ["a"])
    loaded = time.perf_counter() - started
    prompt = model.engine.chat_format.encode(prompt_of(60)).ids
    n, times = 60, []
    for _ in range(3):
        started = time.perf_counter()
        greedy(model, prompt, n)
        times.append(time.perf_counter() - started)
    folder = Path(__file__).parents[1] / "promptbot/models/embedded"
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return (
        f"{size / 1e6:.0f} MB; loaded and first score {loaded:.2f} s; {n / min(times):.0f} tokens/s"
    )


def main() -> None:
    """Print the table, and write it where asked."""
    import argparse

    parser = argparse.ArgumentParser(description="Measure the embedded model through chains.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("pretraining/work"))
    parser.add_argument("--n", type=int, default=150, help="cases of each ability")
    parser.add_argument("--banking", type=int, default=3080, help="messages of BANKING77's test")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--only", choices=("fluency",), help="what compares models of any size")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    options = parser.parse_args()
    model, encoder = load_model(options.model), load_encoder("embedded")
    rows: list[Row] = []

    def show(row: Row) -> None:
        rows.append(row)
        print(row.line(), flush=True)

    from pretraining import corpus, measure, world

    if options.only == "fluency":
        dialogues = corpus.load(options.work).dialogues
        print(fluency(model, dialogues, options.n).line())
        return
    held = world.load(options.data, options.work)
    print("| ability | right | share | bar | met |\n|---|---|---|---|---|")
    for row in notes(model, encoder, measure.note_cases(held, options.work)[: 2 * options.n]):
        show(row)
    n = options.n
    for name, cases, bar in (
        ("system prompt: facts in held-out wordings", measure.fact_cases(held, n), 0.85),
        ("system prompt: one word, a fixed ending", measure.rule_cases(held, n), 0.85),
        ("details copied into the reply", measure.copy_cases(held, n), 0.95),
        ("small talk, held-out phrasings", measure.chitchat_cases(held, n), 0.8),
        ("said 1 to 4 turns before", measure.memory_cases(held, n), 0.85),
    ):
        show(chats(model, name, cases, bar, shown="copied" in name))
    show(kefu(model, encoder))
    name = "Chinese: small talk, held-out phrasings"
    show(chats(model, name, chinese_talk(held, n), None))
    for row in xsid(model, encoder, options.data):
        show(row)
    for row in banking(model, encoder, options.data, options.banking, held.words):
        show(row)
    fluent = fluency(model, held.dialogues, n)
    print(fluent.line(), flush=True)
    print(speed())
    if options.json:
        figures = {"rows": [asdict(row) for row in rows], "fluency": asdict(fluent)}
        text = json.dumps(figures, indent=1) + "\n"
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
