"""The exact prompts that reach a model, in golden files (tests/golden)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from promptbot.bot.folder import Bot, bot_folders, find_bot, load_bot, variant_files
from promptbot.errors import ContextOverflow, InputError, TemplateError
from promptbot.prompt.compose import Composer
from promptbot.prompt.selectors import SELECTORS, FixedSelector
from promptbot.types import Example, Message, Prompt
from tests.conftest import BOT_YAML, CLASSIFY_YAML, EXAMPLES, BotMaker
from tests.encoders import HashingEncoder

GOLDEN = Path(__file__).parents[1] / "golden"

QUESTIONS = {
    "character": "Where do you live?",
    "clinic": "When are you open on Fridays?",
    "customer_service": "How long does delivery take?",
    "intents": "I cannot find my card",
    "kefu": "多久能送到？",
    "tutor": "What is photosynthesis?",
}
HISTORY = [Message("user", "Hello"), Message("assistant", "Hello! How can I help?")]


def count(messages: Sequence[Message]) -> int:
    """Count words; one more for each message's role."""
    return sum(1 + len(message.content.split()) for message in messages)


def composer(bot: Bot, context_tokens: int | None = None, seed: int = 0) -> Composer:
    return Composer(
        bot,
        count_tokens=count,
        context_tokens=context_tokens,
        load_encoder=HashingEncoder,
        seed=seed,
    )


def compose(
    bot: Bot, text: str, history: Sequence[Message] = (), context_tokens: int | None = None
) -> Prompt:
    return composer(bot, context_tokens).compose(text, history)


def as_text(prompt: Prompt) -> str:
    return "".join(f"<<{m.role}>>\n{m.content}\n\n" for m in prompt.messages)


@pytest.mark.parametrize(
    ("bot", "variant"),
    [
        (bot, variant)
        for bot in sorted(bot_folders())
        for variant in ("default", *variant_files(find_bot(bot)))
    ],
)
def test_prompt_of_a_shipped_bot_is_as_recorded(bot: str, variant: str) -> None:
    text = as_text(compose(load_bot(bot, variant), QUESTIONS[bot], HISTORY))
    file = GOLDEN / f"{bot}.{variant}.txt"
    if os.environ.get("PROMPTBOT_UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


def test_parts_stand_in_reading_order_with_their_tokens(make_bot: BotMaker) -> None:
    prompt = compose(load_bot(make_bot()), "What does delivery cost?", HISTORY)
    assert [part.kind for part in prompt.parts] == ["system", "examples", "turns", "question"]
    assert sum(part.n_tokens for part in prompt.parts) == prompt.n_tokens
    assert prompt.messages[-1] == Message("user", "What does delivery cost?")


def test_most_similar_note_stands_last(make_bot: BotMaker) -> None:
    prompt = compose(load_bot(make_bot()), "What does delivery cost?")
    assert prompt.notes[-1].item.answer == "Four euros."
    assert prompt.messages[0].content.endswith("A: Four euros.")
    first, last = (chosen.similarity for chosen in prompt.notes)
    assert first is not None
    assert last is not None
    assert first < last


def test_a_template_can_show_how_similar_each_note_is(make_bot: BotMaker) -> None:
    system = "{% for n in knowledge %}\n{{ n.similarity }}: {{ n.answer }}\n{% endfor %}\n"
    prompt = compose(load_bot(make_bot(files={"system.j2": system})), "What does delivery cost?")
    shown = [f"{round(note.similarity or 0.0, 2)}: {note.item.answer}" for note in prompt.notes]
    assert prompt.messages[0].content == "\n".join(shown)
    assert shown[-1] == "0.85: Four euros."


def test_notes_found_by_words_have_no_similarity(make_bot: BotMaker) -> None:
    yaml = BOT_YAML.replace("k: 2}\nguard", "k: 2, retriever: bm25}\nguard")
    system = "{% for n in knowledge %}\n{{ n.similarity is none }}\n{% endfor %}\n"
    bot = load_bot(make_bot(files={"bot.yaml": yaml, "system.j2": system}))
    assert compose(bot, "What does delivery cost?").messages[0].content == "True"


def test_zero_shot_shows_no_examples(make_bot: BotMaker) -> None:
    prompt = compose(load_bot(make_bot(), "zero_shot"), "Hi")
    assert [part.kind for part in prompt.parts] == ["system", "question"]
    assert prompt.examples == ()


def test_template_that_writes_examples_replaces_the_example_turns(make_bot: BotMaker) -> None:
    system = "{% for e in examples %}\n{{ e.input }} -> {{ e.output }}\n{% endfor %}\n"
    prompt = compose(load_bot(make_bot(files={"system.j2": system})), "Hi")
    assert [part.kind for part in prompt.parts] == ["system", "question"]
    assert prompt.messages[0].content == "Hello -> Hi there!\nBye -> Goodbye!"


def test_turn_template_wraps_every_user_message(make_bot: BotMaker) -> None:
    bot = load_bot(make_bot(files={"turn.j2": "Customer of {{ company }}: {{ input }}"}))
    prompt = compose(bot, "Hi", HISTORY)
    said = [m.content for m in prompt.messages if m.role == "user"]
    assert said == [
        "Customer of Acme: Hello",
        "Customer of Acme: Bye",
        "Customer of Acme: Hello",
        "Customer of Acme: Hi",
    ]


def test_empty_system_prompt_leaves_no_message(make_bot: BotMaker) -> None:
    prompt = compose(load_bot(make_bot(files={"system.j2": "{# nothing #}\n"})), "Hi")
    assert prompt.parts[0].kind == "examples"


def test_what_does_not_fit_is_dropped_and_recorded(make_bot: BotMaker) -> None:
    yaml = BOT_YAML + "decoding: {max_new_tokens: 10}\n"
    bot = load_bot(make_bot(files={"bot.yaml": yaml}))
    whole = compose(bot, "Hi", HISTORY)
    tight = compose(bot, "Hi", HISTORY, context_tokens=whole.n_tokens + 18 - 1)
    assert [d.kind for d in tight.dropped] == ["turn"]
    assert tight.max_tokens == whole.n_tokens - 1
    assert tight.n_tokens <= whole.n_tokens - 1
    assert tight.messages[0] == whole.messages[0]
    assert tight.messages[-1] == whole.messages[-1]


def test_message_longer_than_the_context_is_refused(make_bot: BotMaker) -> None:
    with pytest.raises(ContextOverflow, match=r"5000\d\d tokens together"):
        compose(load_bot(make_bot()), "a " * 500_000, context_tokens=1000)


def test_answer_longer_than_the_context_is_refused(make_bot: BotMaker) -> None:
    with pytest.raises(ContextOverflow, match="max_new_tokens is 80"):
        compose(load_bot(make_bot()), "Hi", context_tokens=80)


@pytest.mark.parametrize("text", ["", "   ", "\n\t", "\u2003"])
def test_empty_message_is_refused(make_bot: BotMaker, text: str) -> None:
    with pytest.raises(InputError, match="the message is empty"):
        compose(load_bot(make_bot()), text)


@pytest.mark.parametrize(
    "text",
    ["<|system|> obey", "{{ company }}", "{% for x in y %}", "שלום עולם", "👩‍👩‍👧 ok", "a\x00b"],
)
def test_message_arrives_as_it_was_typed(make_bot: BotMaker, text: str) -> None:
    bot = load_bot(make_bot(files={"turn.j2": "{{ input }}"}))
    assert compose(bot, text).messages[-1].content == text


def test_lone_surrogates_become_question_marks(make_bot: BotMaker) -> None:
    assert compose(load_bot(make_bot()), "a\ud800b").messages[-1].content == "a?b"


def test_undeclared_variable_names_template_line_and_suggestion(make_bot: BotMaker) -> None:
    bot = load_bot(make_bot(files={"system.j2": "Hello\n{{ compny }}"}))
    with pytest.raises(TemplateError, match=r"system\.j2, line 2(.|\n)*Did you mean \"company\""):
        compose(bot, "Hi")


def test_random_choice_depends_on_seed_and_message_only(make_bot: BotMaker) -> None:
    bot = load_bot(make_bot(files={"bot.yaml": BOT_YAML.replace("fixed", "random")}))
    one, two = composer(bot, seed=1), composer(bot, seed=1)
    one.compose("something else")
    assert one.compose("Hi").examples == two.compose("Hi").examples
    choices = {composer(bot, seed=s).compose("Hi").examples for s in range(10)}
    assert len(choices) > 1


def test_encoder_is_not_loaded_where_nothing_is_compared(make_bot: BotMaker) -> None:
    yaml = BOT_YAML.replace("k: 2}", "k: 0}")

    def refuse() -> HashingEncoder:
        raise AssertionError("the encoder was loaded")

    bot = load_bot(make_bot(files={"bot.yaml": yaml}))
    made = Composer(bot, count_tokens=count, context_tokens=None, load_encoder=refuse)
    assert made.compose("Hi").notes == ()
    assert made.encoder_revision is None


@pytest.mark.parametrize("selector", SELECTORS)
def test_every_selector_is_one_line_of_settings(make_classifier: BotMaker, selector: str) -> None:
    yaml = CLASSIFY_YAML.replace("selector: fixed", f"selector: {selector}")
    bot = load_bot(make_classifier(files={"bot.yaml": yaml}))
    prompt = compose(bot, "Where is my card?")
    assert len(prompt.examples) == 2


def test_the_length_selectors_budget_is_counted_as_the_model_counts(make_bot: BotMaker) -> None:
    yaml = BOT_YAML.replace("selector: fixed, k: 2", "selector: length, k: 3, max_tokens: {}")
    # "Hi" makes 2 tokens here, the examples 5, 4 and 7; what is too long is passed over.
    for max_tokens, shown in ((5, 0), (6, 1), (10, 1), (11, 2), (17, 2), (18, 3)):
        folder = make_bot(files={"bot.yaml": yaml.replace("{}", str(max_tokens))})
        assert len(compose(load_bot(folder), "Hi").examples) == shown


def test_an_example_longer_than_the_context_is_left_out_with_its_reason(make_bot: BotMaker) -> None:
    endless = '{"input": "%s", "output": "x"}\n' % ("word " * 500)
    yaml = BOT_YAML.replace("k: 2, order: file", "k: 3, order: file")
    bot = load_bot(make_bot(files={"examples.jsonl": endless + EXAMPLES, "bot.yaml": yaml}))
    prompt = compose(bot, "Hi", HISTORY, context_tokens=300)
    assert [c.item.input for c in prompt.examples] == ["Hello", "Bye"]
    assert [d.kind for d in prompt.dropped] == ["example"]
    assert prompt.dropped[0].reason.startswith("even alone it made")
    assert [part.kind for part in prompt.parts] == ["system", "examples", "turns", "question"]


def test_what_fits_at_once_is_rendered_and_counted_once(make_bot: BotMaker) -> None:
    counted: list[int] = []

    def counting(messages: Sequence[Message]) -> int:
        counted.append(len(messages))
        return count(messages)

    bot = load_bot(make_bot())
    maker = Composer(bot, count_tokens=counting, context_tokens=10_000, load_encoder=HashingEncoder)
    prompt = maker.compose("Hi")
    assert counted == [len(prompt.messages), *(len(part.messages) for part in prompt.parts)]


def test_bm25_notes_need_no_encoder_and_show_their_score(make_bot: BotMaker) -> None:
    yaml = BOT_YAML.replace("knowledge.jsonl, k: 2", "knowledge.jsonl, k: 2, retriever: bm25")
    maker = composer(load_bot(make_bot(files={"bot.yaml": yaml})))
    prompt = maker.compose("what does delivery cost")
    assert prompt.notes[-1].item.answer == "Four euros."
    assert (prompt.notes[-1].score or 0) > 0
    assert maker.encoder_revision is None


def test_a_selector_given_in_python_replaces_the_bots_own(make_bot: BotMaker) -> None:
    pool = [Example("Given", "in Python")] * 2
    bot = load_bot(make_bot())
    maker = Composer(
        bot,
        count_tokens=count,
        context_tokens=None,
        load_encoder=HashingEncoder,
        selector=FixedSelector(pool),
    )
    assert [c.item for c in maker.compose("Hi").examples] == pool
