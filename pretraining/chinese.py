# ruff: noqa: E501 - sentences in tables read best on one line
"""Episodes in Chinese: notes and small talk, of the texts that the encoder learned from.

The model learns to read Chinese notes and to copy them, not to know Chinese: a question of one
text is answered by a sentence of any other, so nothing can be remembered instead of read. The
summaries of Chinese questions are pulled to the embedded encoder's vectors, since the teacher
reads no Chinese.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from pretraining.corpus import HAN, held_share, load_rows
from pretraining.episodes import Mark, Piece, Turn, halved, shown, system, target, user

if TYPE_CHECKING:
    import numpy as np

    from pretraining.world import World

N_CHARACTERS = 2600
"""The most frequent characters (and marks) become tokens of their own."""
COMMON = 0.85
"""Share of the small talk that comes from what is worded in many ways: there is something to be
learnt, where a reply to one wording can only be remembered."""
HELD = 12
"""Percent of the small-talk phrasings that never enter training."""


@dataclass(frozen=True)
class Chinese:
    """What the Chinese episodes draw from."""

    questions: tuple[tuple[str, ...], ...]
    """Wordings of one matter each, the note's first."""
    answers: tuple[str, ...]
    """Sentences that can stand as the answer of a note about anything."""
    talk: tuple[tuple[tuple[str, ...], str], ...]
    """Small talk: phrasings, the reply."""
    held_talk: tuple[tuple[str, str], ...]
    """(phrasing, reply) of small talk that never enters training."""
    vectors: np.ndarray
    """The embedded encoder's unit vectors of the questions' first wordings (n_questions, 384)."""

    @cached_property
    def common(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """The small talk that people word in many ways."""
        return tuple(t for t in self.talk if len(t[0]) > 2)

    def about(self, i: int, wording: str) -> tuple[str, ...]:
        """Return what the summary of a wording is of: half of it is common to all of its matter."""
        return halved(wording, self.questions[i][0])

    @cached_property
    def worded(self) -> tuple[int, ...]:
        """The questions that have several wordings."""
        return tuple(i for i, q in enumerate(self.questions) if len(q) > 2)

    @cached_property
    def every(self) -> tuple[str, ...]:
        """Every character of the answers and questions once, however rare."""
        texts = [*self.answers, *(wording for q in self.questions for wording in q)]
        return tuple(sorted({c for text in texts for c in HAN.findall(text)}))


def sentences(text: str) -> list[str]:
    """Return the first one or two sentences of a text, where they are short."""
    parts = re.findall(r"[^。！？!?\n]+[。！？!?]", text.strip())
    return [p.strip() for p in parts[:2]]


def characters(texts: Iterable[str], most: int = N_CHARACTERS) -> list[str]:
    """Return the characters beyond Latin scripts that the texts use most, most frequent first."""
    counts = Counter(c for text in texts for c in text if c >= "\u2000" and c.isprintable())
    return [c for c, n in counts.most_common(most) if n >= 3]


def load(data: Path, folder: Path) -> Chinese:
    """Return the Chinese material, without texts near to those that measure; made once."""
    import numpy as np

    from promptbot.models.encoder import load_encoder

    path = folder / "chinese.json"
    if not path.exists():
        path.write_text(json.dumps(_build(data), ensure_ascii=False), encoding="utf-8")
    saved = json.loads(path.read_text(encoding="utf-8"))
    questions = tuple(map(tuple, saved["questions"]))
    rows = folder / "chinese.npy"
    if not rows.exists():
        np.save(rows, load_encoder("embedded").encode([q[0] for q in questions]))
    return Chinese(
        questions,
        tuple(saved["answers"]),
        tuple((tuple(q), a) for q, a in saved["talk"]),
        tuple((q, a) for q, a in saved["held_talk"]),
        np.load(rows),
    )


def _build(data: Path) -> dict[str, list[object]]:
    from pretraining.encoder_chinese import leak_filter, load_texts

    leak = leak_filter(data)
    texts = load_texts(data)
    known = set(texts.all())
    # What is kept to measure small talk is no note's question either.
    small = [q for row in load_rows(data, "ms_chitchat/zh-cn") for q in row["questions"]]
    kept_out = {q for q in small if held_share(q, HELD)}
    intents = ([q for q in intent if q not in kept_out] for intent in texts.intents)
    questions: list[object] = [q[:12] for q in intents if q]
    questions += [(a, b) for a, b in texts.pairs if len(a) <= 24 and len(b) <= 48]
    questions += [(t,) for t in texts.singles if 5 <= len(t) <= 24 and t[-1] in "？?吗呢么"]
    answers: dict[str, None] = {}
    talk: list[object] = []
    held: list[object] = []

    def add(text: str) -> None:
        if 6 <= len(text) <= 60 and len(HAN.findall(text)) > 4 and not leak.leaks(text[:32]):
            answers[text] = None

    for row in load_rows(data, "chinese_medical_sample/sample"):
        first = sentences(row["answer"])
        for text in (first[:1], first):
            add("".join(text))
    for name in ("crosswoz_zh/val", "kdconv_zh/dev", "lccc_toy_zh/pairs_train", "smile_zh/train"):
        for row in load_rows(data, name):
            for message in row["messages"]:
                if message["role"] == "assistant":
                    add(message["content"].strip())
    for row in load_rows(data, "ms_chitchat/zh-cn"):
        here = [q for q in row["questions"] if q in known]
        kept = [q for q in here if held_share(q, HELD)]
        train = [q for q in here if q not in kept]
        if train:
            talk.append((train, row["answer"]))
        held += [(q, row["answer"]) for q in kept]
    for row in load_rows(data, "chatterbot_corpus/zh"):
        m = row["messages"]
        if len(m) == 2 and m[0]["content"] in known and len(m[1]["content"]) <= 60:
            talk.append(([m[0]["content"]], m[1]["content"]))
    return {"questions": questions, "answers": list(answers), "talk": talk, "held_talk": held}


ROLES = (
    "客服",
    "助手",
    "智能客服",
    "前台",
    "咨询员",
    "接待员",
    "小助手",
    "在线助理",
    "向导",
    "值班员",
)
PLACES = ("图书馆", "健身房", "酒店", "餐厅", "诊所", "学校", "博物馆", "旅行社", "书店", "花店", "银行", "宠物店",
          "电影院", "驾校", "维修站", "游泳馆", "面包店", "网店", "社区中心", "幼儿园")  # fmt: skip
NAMES = "山水云月星河松竹梅兰风雨春夏秋冬东南西北金木石海江湖花草青白红蓝安乐康宁福喜明德和顺"
MANNERS = (
    "说话亲切、简短。",
    "回答要简短。",
    "请用一两句话回答。",
    "态度要友好。",
    "语气温和。",
    "不要编造。",
    "说话要有礼貌。",
    "",
)
OPENINGS = (
    "你是{c}的{r}，",
    "你是{c}的{r}。",
    "你在{p}工作，是{c}的{r}。",
    "{c}是一家{p}，你是它的{r}。",
    "你为{c}回答问题。",
)
RULES = (
    ("请根据下面的资料回答。如果资料里没有答案，就说：", ""),
    ("请根据下面的资料回答。如果资料里没有答案，就说：", ""),
    ("请用下面的资料回答问题，没有合适的就回答：", ""),
    ("只用下列内容回答。找不到答案时请说：“", "”"),
    ("以下是你知道的内容，其他问题一律回答：", ""),
    ("参考下面的问答。如果都不合适，就说：", ""),
    ("资料里有答案就照答；没有就说：", ""),
)
SURE_RULES = (
    "请根据下面的资料回答。",
    "请根据下面的资料回答。",
    "请用下面的资料回答问题。",
    "以下是你知道的内容。",
    "参考下面的问答。",
)
"""Rules where the note is surely right: no fallback is offered."""
SURE = 0.45
"""Share of the prompts that show the right note without an offer of the fallback."""
WORDED = 0.6
"""Share of the notes about matters that people word in several ways, which are few of all."""
LAYOUTS = (
    "问：{q}\n答：",
    "问：{q}\n答：",
    "问：{q}\n答：",
    "问题：{q}\n回答：",
    "Q: {q}\nA: ",
    "- {q} ",
    "顾客：{q}\n客服：",
)
FALLBACK_FIRST = ("这个我不清楚", "抱歉，这个我不知道", "对不起，我没有这方面的资料", "这个问题我答不上来", "不好意思，这个我不太了解",
                  "很抱歉，资料里没有写", "这个我得问一下", "这个需要查一下")  # fmt: skip
FALLBACK_SECOND = (
    "，请联系人工服务",
    "，我问问同事再告诉您",
    "，请稍后再来",
    "，我会转告负责人",
    "，请打电话咨询",
    "，我查到后马上回复",
    "",
)
BEFORE = (
    "",
    "",
    "",
    "",
    "请问",
    "你好，",
    "您好，请问",
    "我想问一下，",
    "问一下",
    "那个，",
    "麻烦问下，",
)
AFTER = ("", "", "", "", "谢谢", "？", "啊", "呀")


def company(r: Random) -> str:
    """Return a made-up name."""
    return "".join(r.sample(NAMES, r.randint(2, 3))) + r.choice(("", "", r.choice(PLACES)))


def fallback(r: Random) -> str:
    """Return a sentence for questions that no note answers."""
    return r.choice(FALLBACK_FIRST) + r.choice(FALLBACK_SECOND) + "。"


def as_written(r: Random, text: str) -> str:
    """Return a question as somebody may type it."""
    if r.random() < 0.5:
        return text
    return r.choice(BEFORE) + text.rstrip("？?。！") + r.choice(AFTER)


def strange(r: Random, text: str, every: Sequence[str]) -> str:
    """Return a text in which characters stand that nobody would expect: rare ones, and its own again.

    Where a reply is all that is usual, a reader says what is usual instead of what it reads; and
    after a character that stands several times, it must know which of them it has come to.
    """
    return "".join(
        r.choice(text if r.random() < 0.4 else every) if HAN.match(c) and r.random() < 0.2 else c
        for c in text
    )


def answer(r: Random, chinese: Chinese) -> str:
    """Return an answer, some with a number, a quoted name, strange characters or more to say."""
    text = r.choice(chinese.answers)
    x = r.random()
    if x < 0.2:
        other = r.choice(chinese.answers)
        return text.rstrip("。！？!?") + "，" + other if len(text) + len(other) < 80 else text
    if x < 0.4:
        at = r.randint(0, len(text) - 1)
        made = r.choice((str(r.randint(2, 9999)), f"{r.randint(2, 60)}天", f"{r.randint(5, 900)}元",
                         f"“{''.join(r.sample(text, min(len(text), 3)))}”", f"{r.randint(1, 23)}点"))  # fmt: skip
        return text[:at] + made + text[at:]
    if x < 0.65:
        return strange(r, text, chinese.every)
    return text


def retrieve(r: Random, chinese: Chinese, query: int, n: int) -> list[int]:
    """Return n other questions, near to one of a random pool's as the encoder sees it, nearest last."""
    import numpy as np

    pool = r.sample(
        range(len(chinese.questions)), min(r.choice((n + 1, 20, 60)), len(chinese.questions))
    )
    pool = [i for i in pool if i != query]
    scores = chinese.vectors[pool] @ chinese.vectors[query]
    return [pool[i] for i in np.argsort(scores, kind="stable")[-n:]] if n else []


def _small_talk(
    r: Random, chinese: Chinese, known: dict[str, str], other: Collection[str] = ()
) -> list[Turn]:
    """Return small talk with its usual reply, but nothing that is worded as in `other`."""
    said, reply = r.choice(chinese.common if r.random() < COMMON else chinese.talk)
    while not set(said).isdisjoint(other):
        said, reply = r.choice(chinese.talk)
    question = r.choice(said)
    wanted: Piece = Mark(known[reply]) if reply in known else reply
    return [user(question), target(wanted)]


def notes(r: Random, world: World) -> list[Turn]:
    """Chinese notes and a question or more, some of which no note answers."""
    chinese = world.chinese
    if chinese is None:
        raise ValueError("this world holds no Chinese: see `chinese.load`")
    sentence = fallback(r)
    some = chinese.worded if r.random() < WORDED else range(len(chinese.questions))
    query = r.choice(some)
    absent = r.random() < 0.25
    n = r.choice((1, 1, 1, 2, 3, 3, 3, 4))
    if absent and r.random() < 0.4:
        n = 0  # all of them too far to be shown
    rows = retrieve(r, chinese, query, n if absent else n - 1)
    if not absent:
        x = r.random()
        rows.insert(len(rows) if x < 0.75 else r.randint(0, len(rows)), query)
    is_sure = not absent and r.random() < SURE
    answers = {i: answer(r, chinese) for i in rows}
    opening = r.choice(OPENINGS).format(c=company(r), r=r.choice(ROLES), p=r.choice(PLACES))
    before, after = r.choice(RULES)
    pieces: list[Piece] = [opening + r.choice(MANNERS) + "\n"]
    pieces += [r.choice(SURE_RULES)] if is_sure else [before, Mark(sentence), after]
    layout = r.choice(LAYOUTS)
    wordings = {i: r.choice(chinese.questions[i]) for i in rows}
    for i in rows:
        about = chinese.about(i, wordings[i])
        pieces += ["\n\n" + layout.replace("{q}", wordings[i]), Mark(answers[i], about)]
    turns = [system(*pieces)]
    examples: list[tuple[tuple[str, ...], str]] = []
    taken = {text for i in (query, *rows) for text in chinese.questions[i]}
    if r.random() < 0.7:
        for _ in range(r.randint(1, 3)):
            said, usual = r.choice(chinese.talk)
            if r.random() < 0.5:
                # As a bot's own small talk: what it says is not what is usual.
                said = chinese.questions[r.choice(chinese.worded)]
            reply = usual if r.random() < 0.3 else r.choice(chinese.answers)
            reply = sentence if r.random() < 0.2 else reply
            if taken.intersection(said):
                continue
            taken.update(said)
            examples.append((said, reply))
            turns += [user(r.choice(said)), shown(Mark(reply))]
    asked = [query, *(r.choice(rows) for _ in range(r.choice((0, 1, 2))) if rows)]
    r.shuffle(asked)
    for i in asked:
        if r.random() < 0.15:
            turns += _small_talk(r, chinese, {}, taken)
        if examples and r.random() < 0.35:
            said, reply = r.choice(examples)
            if not is_sure or reply != sentence:
                turns += [user(as_written(r, r.choice(said))), target(Mark(reply))]
        wording = wordings.get(i, chinese.questions[i][0])
        if r.random() < (0.85 if i in chinese.worded else 0.45):
            wording = r.choice(chinese.questions[i])
        reply = answers.get(i, sentence)
        about = chinese.about(i, wording)
        turns += [user(as_written(r, wording), row=about), target(Mark(reply))]
    return turns


def talk(r: Random, world: World) -> list[Turn]:
    """Small talk in Chinese, and what the prompt's examples answer."""
    chinese = world.chinese
    if chinese is None:
        raise ValueError("this world holds no Chinese: see `chinese.load`")
    opening = r.choice(OPENINGS).format(c=company(r), r=r.choice(ROLES), p=r.choice(PLACES))
    turns = [system(opening + r.choice(MANNERS[:-1]))]
    known: dict[str, str] = {}
    for _ in range(r.choice((0, 1, 2, 3))):
        said, usual = r.choice(chinese.talk)
        known[usual] = usual if r.random() < 0.5 else answer(r, chinese)
        turns += [user(r.choice(said)), shown(Mark(known[usual]))]
    for _ in range(r.randint(5, 10)):
        if known and r.random() < 0.3:
            usual = r.choice(sorted(known))
            said = next(s for s, a in chinese.talk if a == usual)
            turns += [user(r.choice(said)), target(Mark(known[usual]))]
        else:
            turns += _small_talk(r, chinese, known)
    return turns
