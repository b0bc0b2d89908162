"""What /why and show say about a prompt and a reply."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console, RenderableType

from promptbot.cli.explain import (
    influence_bars,
    label_line,
    plain_prompt,
    prompt_panels,
    tokens_per_second,
    why,
)
from promptbot.influence import Influence, PartInfluence
from promptbot.types import (
    Chosen,
    Completion,
    Decision,
    Dropped,
    Example,
    Message,
    Note,
    Part,
    Prompt,
    Reply,
    Trace,
)

PROMPT = Prompt(
    parts=(
        Part("system", (Message("system", "You work [bold]here[/bold]."),), 120),
        Part("examples", (Message("user", "Hello"), Message("assistant", "Hi!")), 30),
        Part("question", (Message("user", "When are you open?"),), 6),
    ),
    n_tokens=156,
    max_tokens=200,
    examples=(Chosen(Example("Hello", "Hi!", line=3), 0.42),),
    notes=(Chosen(Note("Opening hours?", "From 9 to 5.", "knowledge.jsonl:7"), 0.913),),
    dropped=(Dropped("turn", "old\nwords", "the prompt had 400 tokens, 200 fit"),),
)


def make_reply(**changes: object) -> Reply:
    values: dict[str, object] = {
        "bot": "shop",
        "variant": "terse",
        "bot_hash": "0123456789abcdef",
        "model": "embedded",
        "model_revision": "sha256:" + "ab" * 32,
        "encoder_revision": None,
        "seed": 3,
        "prompt": PROMPT,
        "completion": Completion("From 9.", 156, 100, 11),
        "seconds": {"compose": 0.008, "first_token": 0.5, "model": 1.5},
    }
    return Reply("From 9.", "a", trace=Trace(**(values | changes)))  # type: ignore[arg-type]


def rendered(content: RenderableType, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None, markup=False).print(content)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


def test_why_tells_sizes_choices_losses_and_cost() -> None:
    assert (
        rendered(why(make_reply(), 100))
        == """\
why this reply
├── prompt  156 of 200 tokens
│   system    120  ━━━━━━━━━━━━━━━━━━━━━━━━
│   examples   30  ━━━━━━
│   question    6  ━
├── notes  1
│   0.91  Opening hours?  knowledge.jsonl:7
├── examples  1
│   0.42  Hello  line 3
├── left out  1
│   because  the prompt had 400 tokens, 200 fit
│   turn     old words
├── cost
│   compose 8 ms · first token 500 ms · whole answer 1.5 s
│   read 156 · 100 of them from the cache · wrote 11 · 10 tokens/s
└── made by
    bot    shop, variant terse  0123456789ab
    model  embedded  abababababab
    seed   3"""
    )


def test_why_says_how_the_model_was_asked_to_write_where_that_is_unusual() -> None:
    decoding = {"temperature": 0.7, "top_p": 1.0, "top_k": 40, "max_new_tokens": 80, "stop": []}
    shown = rendered(why(make_reply(decoding=decoding), 100))
    assert "decoding  temperature 0.7, top_k 40\n" in f"{shown}\n"


def test_why_fits_a_narrow_window() -> None:
    text = rendered(why(make_reply(), 40), width=40)
    assert max(map(len, text.splitlines())) <= 40
    assert "0.91  Opening hours?" in text
    assert "knowledge.jsonl" not in text


def test_label_scores_are_percentages_the_likeliest_first() -> None:
    scores = {f"rare{n}": math.log(0.01) for n in range(9)} | {"card_lost": math.log(0.91)}
    completion = Completion("lost card", 156, stop_reason="scored")
    text = rendered(why(make_reply(label_logprobs=scores, completion=completion), 100))
    assert "│   card_lost  91.0%  ━━━━" in text
    assert "2 others    2.0%" in text
    assert "labels scored, nothing written" in text
    sure = {"card_lost": -0.0001, "balance": -10.0}
    assert label_line(sure).plain == "card_lost 100.0%"
    assert "1 other      0.0%" in rendered(why(make_reply(label_logprobs=sure), 100))
    assert label_line(scores, 2).plain == "card_lost 91.0% · rare0 1.0%"


def test_a_choice_without_similarity_has_a_dash() -> None:
    prompt = Prompt(PROMPT.parts, 156, None, examples=(Chosen(Example("Hello", "Hi!"), None),))
    text = rendered(why(make_reply(prompt=prompt), 100))
    assert "–  Hello" in text
    assert "prompt  156 tokens" in text


def test_panels_show_the_messages_as_they_are() -> None:
    text = rendered(prompt_panels(PROMPT), width=60)
    assert "╭─ system ─" in text
    assert "You work [bold]here[/bold]." in text
    assert "examples: 30 tokens" in text


def test_the_plain_prompt_holds_every_message_and_size() -> None:
    assert (
        plain_prompt(PROMPT)
        == """\
[system]
You work [bold]here[/bold].

[user · examples]
Hello

[assistant · examples]
Hi!

[user · question]
When are you open?

tokens: 156 of 200 tokens (system 120, examples 30, question 6)
note 0.91: Opening hours?
example 0.42: Hello
left out turn: old words (the prompt had 400 tokens, 200 fit)"""
    )


def test_speed_counts_from_the_first_token() -> None:
    trace = make_reply().trace
    assert trace is not None
    assert tokens_per_second(trace) == pytest.approx(10 / 1.0)
    one_word = make_reply(completion=Completion("Hi", n_generated_tokens=1)).trace
    assert one_word is not None
    assert tokens_per_second(one_word) is None


INFLUENCE = Influence(
    answer="From 9 to 5.",
    logprob=-0.5,
    n_tokens=6,
    parts=(
        PartInfluence("system", "You work here. " * 9, -0.4, -0.1),
        PartInfluence("system", "Be brief.", -0.501, 0.001),
        PartInfluence("note", "Opening hours?\nFrom 9 to 5.", -12.5, 12.0),
    ),
    seconds=0.1,
)


def test_bars_say_direction_and_size_without_colour() -> None:
    lines = rendered(influence_bars(INFLUENCE, 100)).splitlines()
    assert "From 9 to 5. (log-probability -0.50, 6 tokens)" in lines[1]
    assert ["┅" in line for line in lines[3:5]] == [True, False]
    assert "-0.10" in lines[3]
    assert "━" not in lines[4]
    assert "+12.00  " + "━" * 24 in lines[6]


@pytest.mark.parametrize("width", [40, 60, 100])
def test_bars_fit_into_a_window(width: int) -> None:
    lines = rendered(influence_bars(INFLUENCE, width), width).splitlines()
    assert max(map(len, lines)) <= width
    assert sum("You work here." in line for line in lines) == 1


def test_why_shows_label_scores_before_and_after_calibration() -> None:
    decision = Decision(
        "scored",
        calibration="contextual",
        before={"card_lost": math.log(0.3), "balance": math.log(0.7)},
        n_prompts=4,
        n_prompt_tokens=512,
        remarks=("2 of 3 texts of contextual fit into the context",),
    )
    after = {"card_lost": math.log(0.6), "balance": math.log(0.4)}
    text = rendered(why(make_reply(label_logprobs=after, decision=decision), 100))
    assert "labels  contextual" in text
    assert "card_lost  60.0%  was 30.0%  ━━━" in text
    assert "4 prompts for the scores, 512 tokens; what they share is read once" in text
    assert "2 of 3 texts of contextual fit into the context" in text
    same = rendered(why(make_reply(label_logprobs=after), 100))
    assert "was" not in same
