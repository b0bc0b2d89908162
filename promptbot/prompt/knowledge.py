"""Which of a bot's notes enter the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptbot.types import Chosen, Note

if TYPE_CHECKING:
    from promptbot.interfaces import Encoder


class Knowledge:
    """Retrieves the notes that lie nearest to a message.

    A note is compared by the mean of two unit vectors, its question's and its answer's; a note
    without a question by its answer's. With all-MiniLM-L6-v2 that puts the right note among the
    nearest three for 94.8% of the 306 samples that have one in customer_service, clinic, tutor and
    character; comparing the question alone 85.3%, the answer alone 78.8%, both as one text 90.2%.

    Args:
        notes: The bot's notes.
        encoder: Frozen sentence encoder.
        cache_dir: Folder of the cached vectors; the user's cache folder when None.
    """

    def __init__(
        self, notes: Sequence[Note], encoder: Encoder, cache_dir: Path | None = None
    ) -> None:
        from promptbot.prompt.similarity import SimilarityIndex

        self._notes = tuple(notes)
        self._index = SimilarityIndex([_texts(note) for note in self._notes], encoder, cache_dir)

    def retrieve(
        self, query: str, k: int, *, min_similarity: float | None = None
    ) -> list[Chosen[Note]]:
        """Return the k notes nearest to the query, nearest first, ties in the file's order.

        Args:
            query: The user's text, unembedded.
            k: How many at most; fewer notes are returned whole.
            min_similarity: Cosine similarity under which a note is left out.
        """
        return [
            Chosen(self._notes[index], similarity)
            for index, similarity in self._index.search(query, k)
            if min_similarity is None or similarity >= min_similarity
        ]


def _texts(note: Note) -> tuple[str, ...]:
    return tuple(text for text in (note.question, note.answer) if text.strip())
