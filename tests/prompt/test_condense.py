"""Running summaries and facts: when they are made, of what, and what a failure leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_classic.memory import ConversationSummaryBufferMemory

from promptbot.bot.check import check_bot
from promptbot.bot.folder import load_bot
from promptbot.chain import Chain, InMemoryHistory
from promptbot.errors import ProviderError, SpecError
from promptbot.models.scripted import ScriptedModel
from promptbot.prompt.condense import find_facts, parse_facts
from promptbot.store import Store
from promptbot.types import Message, Recall, Reply
from tests.conftest import BotMaker
from tests.test_store import make_schema_1

YAML = "name: shop\nmemory: {kind: %s}\n"
SYSTEM = (
    "Be kind.\n{% if summary %}\nBefore: {{ summary }}\n{% endif %}\n"
    "{% for name, value in facts.items() %}\n{{ name }} is {{ value }}\n{% endfor %}\n"
)
SUMMARY_J2 = "Old: {{ summary }}\n{% for t in turns %}\n{{ t.role }}: {{ t.content }}\n{% endfor %}"


def make_chain(make_bot: BotMaker, memory: str, *answers: str, **files: str) -> Chain:
    names = {"bot.yaml": YAML % memory, "system.j2": SYSTEM}
    texts = {name.replace("_j2", ".j2"): text for name, text in files.items()}
    bot = load_bot(make_bot(files={**names, **texts}))
    return Chain(bot, ScriptedModel(answers=list(answers)))


def say(chain: Chain, *messages: str) -> list[Reply]:
    return [chain.invoke({"input": message, "session": "a"}) for message in messages]


def recalled(reply: Reply) -> Recall:
    assert reply.trace is not None
    assert reply.trace.prompt.memory is not None
    return reply.trace.prompt.memory


def prompts(chain: Chain) -> list[list[Message]]:
    assert isinstance(chain.model, ScriptedModel)
    return chain.model.prompts


def test_the_oldest_turns_are_summarised_once_the_window_is_full(make_bot: BotMaker) -> None:
    chain = make_chain(
        make_bot,
        "summary, max_tokens: null, max_turns: 2",
        *("a1", "a2", "a3", "SUM1", "a4", "a5", "SUM2", "a6"),
        summary_j2=SUMMARY_J2,
    )
    replies = say(chain, "q1", "q2", "q3", "q4", "q5", "q6")
    assert [recalled(reply).n_asked for reply in replies] == [0, 0, 0, 1, 0, 1]
    assert [recalled(reply).summary for reply in replies] == ["", "", "", *["SUM1"] * 2, "SUM2"]
    assert [recalled(reply).n_condensed for reply in replies] == [0, 0, 0, 2, 2, 4]
    # Three turns do not fit: the two oldest go, half a window stays.
    asked = "Old: \nuser: q1\nassistant: a1\nuser: q2\nassistant: a2"
    assert prompts(chain)[3] == [Message("user", asked)]
    assert [m.content for m in prompts(chain)[4]] == ["Be kind.\nBefore: SUM1", "q3", "a3", "q4"]
    asked = "Old: SUM1\nuser: q3\nassistant: a3\nuser: q4\nassistant: a4"
    assert prompts(chain)[6] == [Message("user", asked)]
    assert len(chain.history.load("a")) == 12  # every turn stays in the store


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_window_of_one_turn_asks_for_the_summaries_that_langchains_memory_asks_for(
    make_bot: BotMaker,
) -> None:
    from langchain_core.language_models import FakeListChatModel
    from langchain_core.prompts import PromptTemplate

    asked: list[str] = []

    class Summariser(FakeListChatModel):
        """Counts messages in place of tokens, and keeps what it was asked."""

        def get_num_tokens_from_messages(self, messages: Any, **others: Any) -> int:
            return len(messages)

        def _call(self, messages: Any, *others: Any, **more: Any) -> str:
            asked.append(messages[-1].content)
            return super()._call(messages, *others, **more)

    theirs = ConversationSummaryBufferMemory(
        llm=Summariser(responses=["S1", "S2", "S3"]),
        max_token_limit=2,
        prompt=PromptTemplate.from_template("Old: {summary}\n{new_lines}"),
        human_prefix="user",
        ai_prefix="assistant",
    )
    answers = ["a1", "a2", "S1", "a3", "S2", "a4", "S3", "a5"]
    settings = "summary, max_turns: 1, max_tokens: null"
    chain = make_chain(make_bot, settings, *answers, summary_j2=SUMMARY_J2)
    for number in range(1, 5):
        theirs.save_context({"input": f"q{number}"}, {"output": f"a{number}"})
    replies = say(chain, "q1", "q2", "q3", "q4", "q5")
    ours = [prompt[0].content for prompt in prompts(chain) if len(prompt) == 1]
    assert ours == asked
    assert len(ours) == 3
    assert recalled(replies[-1]).summary == theirs.moving_summary_buffer == "S3"


def test_a_stored_session_is_summarised_by_its_tokens_in_windows(make_bot: BotMaker) -> None:
    history = InMemoryHistory()
    for number in range(4):
        turn = [Message("user", f"one two {number}"), Message("assistant", "three four five")]
        history.append("a", turn)
    chain = make_chain(make_bot, "summary, max_tokens: 16", "S1", "S2", "S3", "S4", "answer")
    chain.history = history
    (reply,) = say(chain, "now")
    # A turn has 8 tokens: two fit into a window, one into half of it.
    assert recalled(reply) == Recall(
        kind="summary", n_turns=4, n_recalled=1, n_condensed=3, summary="S2", n_asked=2
    )
    assert "one two 0" in prompts(chain)[0][0].content
    assert "one two 1" in prompts(chain)[0][0].content
    assert "one two 2" in prompts(chain)[1][0].content


def test_after_a_turn_is_taken_back_the_summary_is_made_again(make_bot: BotMaker) -> None:
    chain = make_chain(
        make_bot, "summary, max_turns: 1, max_tokens: null", "a1", "a2", "OLD", "a3", "NEW", "a4"
    )
    say(chain, "q1", "q2", "q3")
    chain.history = InMemoryHistory()
    chain.history.append("a", [Message("user", "other"), Message("assistant", "b1")])
    chain.history.append("a", [Message("user", "again"), Message("assistant", "b2")])
    (reply,) = say(chain, "q4")
    assert (recalled(reply).summary, recalled(reply).n_condensed) == ("NEW", 1)
    assert "OLD" not in prompts(chain)[-2][0].content


class Failing(ScriptedModel):
    """A model that cannot summarise."""

    def invoke(self, *arguments: object, **settings: object) -> object:  # type: ignore[override]
        raise ProviderError("the server is down.", hint="Wait.")


def test_a_failure_keeps_the_old_summary_and_says_so(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot, "summary, max_turns: 1, max_tokens: null", "a1", "a2", "SUM", "a3")
    say(chain, "q1", "q2", "q3")
    chain.model = Failing(answers=["a4"])
    (reply,) = say(chain, "q4")
    memory = recalled(reply)
    assert reply.text == "a4"
    assert (memory.summary, memory.problem) == ("SUM", "the server is down.")
    assert (memory.n_turns, memory.n_condensed, memory.n_recalled) == (3, 1, 1)


def test_an_empty_summary_counts_as_a_failure(make_bot: BotMaker) -> None:
    chain = make_chain(make_bot, "summary, max_turns: 1, max_tokens: null", "a", "b", " ", "c")
    replies = say(chain, "q1", "q2", "q3")
    assert recalled(replies[-1]).problem == "the model wrote nothing."
    assert replies[-1].text == "c"


def test_facts_come_from_the_models_lines_and_later_ones_replace(make_bot: BotMaker) -> None:
    chain = make_chain(
        make_bot,
        "facts, max_turns: 1, max_tokens: null",
        *("a1", "a2", "- Name: Ana\nI found nothing else.\ncity: Rome", "a3", "city: Oslo", "a4"),
    )
    replies = say(chain, "I am Ana", "I live in Rome", "q3", "q4")
    assert recalled(replies[-2]).facts == {"name": "Ana", "city": "Rome"}
    assert recalled(replies[-1]).facts == {"name": "Ana", "city": "Oslo"}
    assert prompts(chain)[-1][0].content == "Be kind.\nname is Ana\ncity is Oslo"
    assert "name: Ana\ncity: Rome" in prompts(chain)[-2][0].content


def test_declared_patterns_find_facts_without_asking_the_model(make_bot: BotMaker) -> None:
    patterns = 'facts, patterns: {name: ["my name is {word}", "call me {word}"]}'
    chain = make_chain(make_bot, patterns, "Hello.", "Yes.", "Sure.")
    replies = say(chain, "Hi, my  Name is Ana and I am new", "Call me Annie!", "Who am I?")
    assert [recalled(reply).facts for reply in replies] == [{}, {"name": "Ana"}, {"name": "Annie"}]
    assert [recalled(reply).n_asked for reply in replies] == [0, 0, 0]
    kinds = [(left.kind, left.text) for left in chain.leave_out_each(_prompt(replies[-1]))]
    assert kinds[:2] == [("system", "Be kind."), ("fact", "name: Annie")]


def _prompt(reply: Reply) -> object:
    assert reply.trace is not None
    return reply.trace.prompt


@pytest.mark.parametrize(
    ("wording", "message", "found"),
    [
        ("my name is {word}", "MY NAME IS O'Neil-Smith.", "O'Neil-Smith"),
        ("i live in {value}", "I live in New York, you know", "New York"),
        ("i live in {value}", "He said I live in Rome! No: I live in Oslo", "Oslo"),
        ("am {word}", "Spam folder", None),
        ("我叫{value}", "你好，我叫小明。", "小明"),
        ("order {word}", "the (a+)+ order 4711", "4711"),
    ],
)
def test_patterns_are_words_and_not_regular_expressions(
    wording: str, message: str, found: str | None
) -> None:
    facts = find_facts({"fact": [wording]}, [Message("user", message)])
    assert facts.get("fact") == found
    assert find_facts({"fact": [wording]}, [Message("assistant", message)]) == {}


def test_what_is_no_fact_is_left_out() -> None:
    assert parse_facts("none\n\n* Order number : 4711 \n: x\nname:\n") == {"order number": "4711"}


@pytest.mark.parametrize(
    ("memory", "problem"),
    [
        ('{kind: facts, patterns: {name: ["my name"]}}', "does not say once where"),
        ('{kind: window, patterns: {name: ["{word}"]}}', "the memory is window"),
    ],
)
def test_patterns_that_cannot_work_are_refused(
    make_bot: BotMaker, memory: str, problem: str
) -> None:
    with pytest.raises(SpecError, match=problem):
        load_bot(make_bot(files={"bot.yaml": f"name: shop\nmemory: {memory}\n"}))


def test_check_reads_the_memorys_template_too(make_bot: BotMaker) -> None:
    files = {"bot.yaml": YAML % "summary", "system.j2": SYSTEM, "summary.j2": "{{ knowledge }}"}
    (problem,) = check_bot(make_bot(files=files))
    assert '"knowledge" is not declared' in str(problem)
    assert "summary.j2" in str(problem)


def test_a_conversation_of_an_older_store_is_condensed_as_any_other(
    make_bot: BotMaker, tmp_path: Path
) -> None:
    make_schema_1(tmp_path / "chats.db")  # one turn: "Hello", "Hi!"
    chain = make_chain(
        make_bot,
        "summary, max_tokens: null, max_turns: 1",
        *("a1", "SUM", "a2"),
        summary_j2=SUMMARY_J2,
    )
    store = Store(f"sqlite:///{tmp_path / 'chats.db'}", bot="shop")
    replies = say(Chain(chain.bot, chain.model, history=store), "q1", "q2")
    assert [recalled(reply).summary for reply in replies] == ["", "SUM"]
    assert prompts(chain)[1] == [Message("user", "Old: \nuser: Hello\nassistant: Hi!")]
