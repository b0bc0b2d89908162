"""Memory never shows half a turn, and always the newest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_classic.memory import ConversationBufferMemory, ConversationBufferWindowMemory
from langchain_core.messages import trim_messages

from promptbot.bot.spec import MemorySpec
from promptbot.errors import SpecError
from promptbot.models.messages import from_langchain, to_langchain
from promptbot.prompt.memory import MEMORIES, make_memory, split_turns
from promptbot.types import Message


def count(messages: Sequence[Message]) -> int:
    """Words, and three for the markers of each message."""
    return sum(len(m.content.split()) + 3 for m in messages)


def talk(*texts: str) -> list[Message]:
    """A conversation in which user and assistant take turns."""
    return [Message(("user", "assistant")[n % 2], text) for n, text in enumerate(texts)]  # type: ignore[arg-type]


def recall(
    messages: Sequence[Message], max_tokens: int | None = None, max_turns: int | None = None
) -> list[Message]:
    memory = make_memory("window", max_tokens=max_tokens, max_turns=max_turns, count=count)
    return memory.recall(messages)


conversations = st.lists(
    st.builds(
        Message,
        st.sampled_from(["user", "assistant"]),
        st.integers(0, 6).map(lambda n: " ".join("word" for _ in range(n))),
    ),
    max_size=40,
)


def test_the_oldest_turn_is_dropped_first_and_whole() -> None:
    history = talk("hello there", "hi", "where are you", "in Mill Street", "bye", "goodbye now")
    assert count(history[4:]) == 9
    assert count(history[2:]) == 21
    assert recall(history, max_tokens=8) == []
    assert recall(history, max_tokens=9) == history[4:]
    assert recall(history, max_tokens=20) == history[4:]
    assert recall(history, max_tokens=21) == history[2:]
    assert recall(history, max_turns=2) == history[2:]
    assert recall(history, max_turns=0) == []
    assert recall(history) == history


def test_both_bounds_hold_together() -> None:
    history = talk("a", "b", "c", "d", "e", "f")
    assert recall(history, max_tokens=16, max_turns=1) == history[4:]
    assert recall(history, max_tokens=8, max_turns=2) == history[4:]


@given(
    st.lists(st.integers(0, 9).map(lambda n: "word " * n), max_size=24),
    st.integers(0, 90),
)
def test_a_window_of_tokens_equals_langchains_trim_messages(texts: list[str], most: int) -> None:
    history = talk(*texts[: len(texts) // 2 * 2])  # whole turns
    theirs = trim_messages(
        to_langchain(history),
        max_tokens=most,
        token_counter=lambda some: count(from_langchain(some)),
        strategy="last",
        start_on="human",
    )
    assert recall(history, max_tokens=most) == from_langchain(theirs)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("n_turns", [1, 2, 5, 9])
def test_windows_of_turns_and_buffers_equal_langchains_memories(n_turns: int) -> None:
    history = talk(*[f"text {n}" for n in range(12)])
    window = ConversationBufferWindowMemory(k=n_turns, return_messages=True)
    whole = ConversationBufferMemory(return_messages=True)
    for asked, answered in zip(history[::2], history[1::2], strict=True):
        for memory in (window, whole):
            memory.save_context({"input": asked.content}, {"output": answered.content})
    assert recall(history, max_turns=n_turns) == from_langchain(window.buffer)
    buffer = make_memory("buffer", max_tokens=None, max_turns=None, count=count)
    assert buffer.recall(history) == from_langchain(whole.buffer)


def test_a_long_old_turn_hides_the_shorter_ones_before_it() -> None:
    history = talk("a", "b", "long " * 50, "c", "d", "e")
    assert recall(history, max_tokens=30) == history[4:]


def test_an_interrupted_turn_is_kept_whole_or_dropped_whole() -> None:
    asked = Message("user", "tell me a story")
    history = [asked, *talk("never mind", "all right")]
    assert [len(turn) for turn in split_turns(history)] == [1, 2]
    assert recall(history, max_turns=1) == history[1:]
    assert recall(history, max_turns=2) == history


def test_a_greeting_before_the_first_question_is_a_turn() -> None:
    greeting = Message("assistant", "Welcome!")
    assert split_turns([greeting, *talk("hi", "hello")]) == [
        (greeting,),
        tuple(talk("hi", "hello")),
    ]


@given(conversations)
def test_turns_add_up_to_the_conversation(history: list[Message]) -> None:
    turns = split_turns(history)
    assert [message for turn in turns for message in turn] == history
    assert all(turns)
    for turn in turns[1:]:
        assert [message.role for message in turn].count("user") == 1
        assert turn[0].role == "user"


@given(
    conversations,
    st.none() | st.integers(0, 120),
    st.none() | st.integers(0, 10),
)
def test_the_window_is_the_longest_run_of_newest_turns_within_its_bounds(
    history: list[Message], max_tokens: int | None, max_turns: int | None
) -> None:
    turns = split_turns(history)
    allowed = [
        kept
        for n in range(len(turns) + 1)
        if (max_turns is None or n <= max_turns)
        for kept in [[m for turn in turns[len(turns) - n :] for m in turn]]
        if max_tokens is None or count(kept) <= max_tokens
    ]
    assert recall(history, max_tokens, max_turns) == max(allowed, key=len)


def test_a_long_conversation_is_not_counted_from_its_start() -> None:
    counted = []

    def watching(messages: Sequence[Message]) -> int:
        counted.append(len(messages))
        return count(messages)

    history = talk(*["one two three"] * 2000)
    memory = make_memory("window", max_tokens=400, max_turns=None, count=watching)
    assert len(memory.recall(history)) == 66
    assert sum(counted) < 1000


@given(conversations)
def test_a_buffer_remembers_everything(history: list[Message]) -> None:
    assert make_memory("buffer", max_tokens=1, max_turns=1, count=count).recall(history) == history


def test_an_unknown_memory_is_answered_with_those_that_are_known() -> None:
    with pytest.raises(
        SpecError, match=r'Known: buffer, window, summary, facts\. Did you mean "window"'
    ):
        make_memory("windows", max_tokens=None, max_turns=None, count=count)


def test_settings_and_registry_know_the_same_words() -> None:
    assert set(get_args(MemorySpec.model_fields["kind"].annotation)) == set(MEMORIES)
