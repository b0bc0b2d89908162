"""Adapters to LangChain's histories, loaders and selectors."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.example_selectors import LengthBasedExampleSelector
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompts import PromptTemplate
from langchain_core.vectorstores import InMemoryVectorStore

from promptbot.bot.folder import load_bot
from promptbot.chain import load_chain
from promptbot.errors import DataError, StoreError
from promptbot.langchain_compat import (
    documents_from_loader,
    history_from_langchain,
    selector_from_langchain,
    selector_from_vector_store,
    sql_history,
)
from promptbot.models.scripted import ScriptedModel
from promptbot.prompt.selectors import Pool, as_langchain, make_selector
from promptbot.types import Chosen, Example, Message, Note
from tests.conftest import BotMaker
from tests.encoders import HashingEncoder

TURN = [Message("user", "Hello"), Message("assistant", "Good morning.")]


class ListHistory(BaseChatMessageHistory):
    """LangChain's interface over a list."""

    def __init__(self) -> None:
        self.messages: list[BaseMessage] = []

    def add_message(self, message: BaseMessage) -> None:
        self.messages.append(message)

    def clear(self) -> None:
        self.messages.clear()


def test_a_langchain_history_keeps_a_session() -> None:
    theirs = ListHistory()
    history = history_from_langchain(theirs, "ann")
    assert history.load("ann") == []
    history.append("ann", TURN)
    assert history.load("ann") == TURN
    assert [type(message) for message in theirs.messages] == [HumanMessage, AIMessage]


def test_a_langchain_history_refuses_another_session() -> None:
    history = history_from_langchain(ListHistory(), "ann")
    with pytest.raises(StoreError, match='holds the session "ann", not "bob"'):
        history.load("bob")
    with pytest.raises(StoreError, match="one history for each session"):
        history.append("bob", TURN)


def test_sql_history_is_readable_by_langchain_and_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chats.db"
    sql_history(url, "ann").append("ann", TURN)
    assert sql_history(url, "ann").load("ann") == TURN
    assert sql_history(url, "bob").load("bob") == []
    from langchain_community.chat_message_histories import SQLChatMessageHistory

    theirs = SQLChatMessageHistory("ann", connection=url)
    assert [(m.type, m.content) for m in theirs.messages] == [
        ("human", "Hello"),
        ("ai", "Good morning."),
    ]


def test_a_database_that_cannot_be_opened_is_a_store_error(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/no/such/folder/chats.db", "nonsense"):
        with pytest.raises(StoreError, match="cannot be read or written"):
            sql_history(url, "ann")


def test_nothing_is_said_of_deprecation(tmp_path: Path) -> None:
    code = (
        "from promptbot.langchain_compat import sql_history; "
        f"print(sql_history('sqlite:///{tmp_path}/chats.db', 'a').load('a'))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert "community" not in done.stderr.lower()
    assert "sunset" not in done.stderr.lower()


class ListLoader(BaseLoader):
    """Reads documents from a list, and warns as langchain-community's loaders do."""

    def __init__(self, *documents: Document) -> None:
        self.documents = documents

    def lazy_load(self) -> Iterator[Document]:
        warnings.warn("langchain-community is being sunset", DeprecationWarning, stacklevel=2)
        yield from self.documents


def test_documents_become_notes_with_their_source() -> None:
    loader = ListLoader(
        Document("Two days.\n", metadata={"title": "Delivery", "source": "help.html"}),
        Document("  "),
        Document("By post.", metadata={"source": "faq.pdf", "page": 0}),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notes = documents_from_loader(loader)
    assert notes == [
        Note("Delivery", "Two days.", "help.html:1"),
        Note("", "By post.", "faq.pdf:0"),
    ]


def test_a_community_loader_reads_a_file(tmp_path: Path) -> None:
    from langchain_community.document_loaders import CSVLoader

    file = tmp_path / "faq.csv"
    file.write_text("question,answer\nDelivery?,Two days.\nReturns?,30 days.\n")
    notes = documents_from_loader(CSVLoader(str(file)))
    assert [note.source for note in notes] == [f"{file}:0", f"{file}:1"]
    assert notes[1].answer == "question: Returns?\nanswer: 30 days."


def length_selector(*examples: dict[str, Any]) -> LengthBasedExampleSelector:
    template = PromptTemplate.from_template("{q} {a}")
    return LengthBasedExampleSelector(
        examples=list(examples), example_prompt=template, max_length=50
    )


def test_a_langchain_selector_chooses_examples() -> None:
    theirs = length_selector({"q": "Hi", "a": "Hello."}, {"q": "Bye", "a": "Goodbye."})
    selector = selector_from_langchain(theirs, input_key="q", output_key="a")
    hi, bye = Chosen(Example("Hi", "Hello."), None), Chosen(Example("Bye", "Goodbye."), None)
    assert selector.select("Good day", 5) == [hi, bye]
    assert selector.select("Good day", 1) == [hi]
    assert selector.select("Good day", 0) == []


def test_an_example_without_the_named_key_is_explained() -> None:
    selector = selector_from_langchain(length_selector({"q": "Hi", "a": "Hello."}), input_key="q")
    with pytest.raises(DataError, match='lacks "output"'):
        selector.select("Good day", 1)


def example_store() -> InMemoryVectorStore:
    class Vectors(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return HashingEncoder().encode(texts).tolist()  # type: ignore[no-any-return]

        def embed_query(self, text: str) -> list[float]:
            return self.embed_documents([text])[0]

    store = InMemoryVectorStore(Vectors())
    store.add_documents(
        [
            Document("I lost my card", metadata={"output": "lost card", "label": "card_lost"}),
            Document("How much money do I have?", metadata={"output": "account balance"}),
        ]
    )
    return store


def test_a_vector_store_chooses_examples() -> None:
    selector = selector_from_vector_store(example_store())
    lost, balance = selector.select("my card is lost", 5)
    assert lost == Chosen(Example("I lost my card", "lost card", label="card_lost"), None)
    assert balance.item.label is None
    assert selector.select("how much money", 1) == [balance]
    assert selector.select("how much money", 0) == []
    with pytest.raises(DataError, match='lacks "answer"'):
        selector_from_vector_store(example_store(), output_key="answer").select("card", 1)


def test_a_chain_shows_the_examples_that_a_vector_store_chose(make_classifier: BotMaker) -> None:
    model = ScriptedModel(answers=["lost card"])
    chain = load_chain(
        load_bot(make_classifier()),
        model=model,
        selector=selector_from_vector_store(example_store()),
    )
    prompt = chain.compose("my card is lost")
    assert [c.item.input for c in prompt.examples] == [
        "I lost my card",
        "How much money do I have?",
    ]


def test_a_selector_goes_to_langchain_and_back(make_classifier: BotMaker) -> None:
    pool = [Example(f"question {n}", f"answer {n}", label="x") for n in range(9)]
    ours = make_selector("nearest", Pool(pool, HashingEncoder()))
    back = selector_from_langchain(as_langchain(ours, k=4))
    expected = [c.item for c in ours.select("question 7", 3)]
    assert [c.item for c in back.select("question 7", 3)] == expected
    chain = load_chain(
        load_bot(make_classifier()), model=ScriptedModel(answers=["x"]), selector=back
    )
    assert len(chain.compose("question 7").examples) == 2
