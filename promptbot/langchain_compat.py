"""Adapters to LangChain's own histories, loaders, example selectors and vector stores.

Nothing on the path of a turn imports this module, so the end of langchain-community (which has
been announced) would cost this one file.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptbot.errors import DataError, StoreError
from promptbot.models.messages import from_langchain, to_langchain
from promptbot.types import Chosen, Example, Message, Note

if TYPE_CHECKING:
    from langchain_core.chat_history import BaseChatMessageHistory
    from langchain_core.document_loaders import BaseLoader
    from langchain_core.example_selectors import BaseExampleSelector
    from langchain_core.vectorstores import VectorStore

    from promptbot.interfaces import History, Selector


def history_from_langchain(history: BaseChatMessageHistory, session: str) -> History:
    """Return a promptbot history that keeps one session in LangChain's history.

    LangChain binds a history to its session when it is made, so any other session is refused.

    Args:
        history: Where the messages are.
        session: The session that they belong to.
    """
    return _LangChainHistory(history, session)


def sql_history(url: str, session: str, *, table: str = "message_store") -> History:
    """Return the history of a session in a database as LangChain's SQLChatMessageHistory keeps it.

    For interchange with applications that store their conversations so; promptbot's own store is
    `promptbot.store`.

    Args:
        url: Of SQLAlchemy, such as ``sqlite:///chats.db``.
        session: The session's id in that table.
        table: The table's name; the default is LangChain's.

    Raises:
        StoreError: The database cannot be opened.
    """
    with _without_sunset_warning():
        from langchain_community.chat_message_histories import SQLChatMessageHistory

        try:
            history = SQLChatMessageHistory(session, connection=url, table_name=table)
        except Exception as error:
            raise _store_error(error) from error
    return _LangChainHistory(history, session)


def documents_from_loader(loader: BaseLoader) -> list[Note]:
    """Return the documents that a LangChain loader reads, as notes.

    A document's ``title`` becomes the note's question, and its ``source`` (with its ``page`` or
    ``row``, where there is one) the note's. Documents without text are left out.
    """
    with _without_sunset_warning():
        documents = loader.load()
    return [
        Note(
            question=str(document.metadata.get("title") or ""),
            answer=document.page_content.strip(),
            source=_source(document.metadata, number),
        )
        for number, document in enumerate(documents, start=1)
        if document.page_content.strip()
    ]


def selector_from_langchain(
    selector: BaseExampleSelector, *, input_key: str = "input", output_key: str = "output"
) -> Selector:
    """Return a promptbot selector that asks one of LangChain's.

    LangChain's selectors decide themselves how many examples they give (often by their ``k``), so
    of more than are asked for the first are taken, and fewer are given as they are.

    Args:
        selector: Whose examples are mappings of text.
        input_key: Where an example keeps what the user says.
        output_key: Where it keeps what to answer.
    """
    return _LangChainSelector(selector, input_key, output_key)


def selector_from_vector_store(store: VectorStore, *, output_key: str = "output") -> Selector:
    """Return a promptbot selector that searches one of LangChain's vector stores.

    Of each document, the text is what the user says, and its metadata hold what to answer (and the
    ``label``, for classify bots). The store decides what near means, and how exactly it searches.

    Args:
        store: Whose documents are examples.
        output_key: Where a document's metadata keep what to answer.
    """
    return _VectorStoreSelector(store, output_key)


class _LangChainHistory:
    def __init__(self, history: BaseChatMessageHistory, session: str) -> None:
        self._history = history
        self._session = session

    def load(self, session: str) -> list[Message]:
        """Return the session's messages, oldest first."""
        self._check(session)
        try:
            stored = self._history.messages
        except Exception as error:
            raise _store_error(error) from error
        return from_langchain(stored)

    def append(self, session: str, messages: Sequence[Message], *, stopped: bool = False) -> None:
        """Add messages in one call, which LangChain's SQL history makes one transaction.

        LangChain's histories have no place for `stopped`.
        """
        self._check(session)
        try:
            self._history.add_messages(to_langchain(messages))
        except Exception as error:
            raise _store_error(error) from error

    def _check(self, session: str) -> None:
        if session != self._session:
            raise StoreError(
                f'this history holds the session "{self._session}", not "{session}".',
                hint="Make one history for each session.",
            )


class _LangChainSelector:
    def __init__(self, selector: BaseExampleSelector, input_key: str, output_key: str) -> None:
        self._selector = selector
        self._keys = (input_key, output_key)

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return up to k examples, in LangChain's order; it does not tell their similarity."""
        found = self._selector.select_examples({self._keys[0]: query})[:k] if k else []
        return [Chosen(_example(values, *self._keys), None) for values in found]


class _VectorStoreSelector:
    def __init__(self, store: VectorStore, output_key: str) -> None:
        self._store = store
        self._output_key = output_key

    def select(self, query: str, k: int) -> list[Chosen[Example]]:
        """Return up to k examples, nearest first; scores of stores are not comparable."""
        found = self._store.similarity_search(query, k=k) if k else []
        return [
            Chosen(
                _example({**d.metadata, "input": d.page_content}, "input", self._output_key), None
            )
            for d in found
        ]


def _example(values: Mapping[str, Any], input_key: str, output_key: str) -> Example:
    for key in (input_key, output_key):
        if key not in values:
            raise DataError(
                f'an example of LangChain\'s lacks "{key}".',
                expected=f"It has: {', '.join(values)}.",
                hint="Name its keys with input_key and output_key.",
            )
    label = values.get("label")
    return Example(
        input=str(values[input_key]),
        output=str(values[output_key]),
        label=None if label is None else str(label),
    )


def _source(metadata: Mapping[str, Any], number: int) -> str:
    source = str(metadata.get("source") or "document")
    place = next((metadata[key] for key in ("page", "row") if key in metadata), None)
    return f"{source}:{number if place is None else place}"


def _store_error(error: Exception) -> StoreError:
    return StoreError(
        f"the conversation cannot be read or written: {error}",
        hint="Check the database's address and that it may be written.",
    )


def _without_sunset_warning() -> warnings.catch_warnings[None]:
    """Return a context in which langchain-community does not announce its end to the user."""
    return warnings.catch_warnings(action="ignore", category=DeprecationWarning)
