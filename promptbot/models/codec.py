"""Text to token ids and back, with a wall between text and control tokens."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

_MARKUP = re.compile(r"[<\[{|].*[>\]}|]", re.DOTALL)


class Codec:
    """Encodes a chat template's text, where control tokens count, and contents, where they do not.

    Control tokens are a tokenizer's special tokens and those of its added tokens that look like
    markup (``<think>``); added tokens for runs of spaces are ordinary text.

    Args:
        marked: Text to ids, control tokens recognised, nothing added.
        plain: Text to ids, special tokens not recognised, nothing added.
        full: Text to ids with what the tokenizer adds by itself (BOS, EOS).
        decode: Ids to text, special tokens left out.
        added: The tokenizer's added tokens by id.
        unknown_id: The id for characters that the vocabulary lacks; it controls nothing.
        n_vocabulary: How many ids there are.
        serialised: The text of its tokenizer.json, where it has one.
    """

    def __init__(
        self,
        *,
        marked: Callable[[str], list[int]],
        plain: Callable[[str], list[int]],
        full: Callable[[str], list[int]],
        decode: Callable[[Sequence[int]], str],
        added: Mapping[int, AddedToken],
        unknown_id: int | None,
        n_vocabulary: int,
        serialised: str | None = None,
    ) -> None:
        self.encode_marked = marked
        """Text, in which control tokens are control tokens, to ids."""
        self.decode = decode
        """Ids to text, special tokens left out."""
        self.n_vocabulary = n_vocabulary
        self.serialised = serialised
        """The text of its tokenizer.json; None for tokenizers that have none."""
        self._plain = plain
        self.added_ids = frozenset(added)
        """Ids of the tokens that were added to the vocabulary, control tokens among them."""
        self.control = {
            token.content: i
            for i, token in added.items()
            if i != unknown_id and (token.special or _MARKUP.fullmatch(token.content))
        }
        """Id by text of every control token."""
        self.special_ids = frozenset(i for text, i in self.control.items() if added[i].special)
        """Ids of the control tokens that the tokenizer itself calls special."""
        self._control_ids = frozenset(self.control.values())
        longest_first = sorted(self.control, key=len, reverse=True)
        self._literals = (
            re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        )
        self.prefix_ids, self.suffix_ids = _affixes(marked("a"), full("a"))

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Codec:
        """Return the codec of a tokenizer; its truncation and padding are switched off."""
        from tokenizers import Tokenizer as FastTokenizer

        tokenizer.no_truncation()
        tokenizer.no_padding()
        serialised = tokenizer.to_str()
        unmarked = FastTokenizer.from_str(serialised)
        unmarked.encode_special_tokens = True
        return cls(
            marked=lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids),
            plain=lambda text: list(unmarked.encode(text, add_special_tokens=False).ids),
            full=lambda text: list(tokenizer.encode(text).ids),
            decode=lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=True)),
            added=tokenizer.get_added_tokens_decoder(),
            unknown_id=_unknown_id(json.loads(serialised), tokenizer),
            n_vocabulary=tokenizer.get_vocab_size(),
            serialised=serialised,
        )

    @classmethod
    def load(cls, folder: Path) -> Codec:
        """Return the codec of a folder's ``tokenizer.json``."""
        from tokenizers import Tokenizer as FastTokenizer

        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(
                "there is no tokenizer.json.",
                place=str(folder),
                expected="A model folder holds its tokenizer beside its weights.",
                hint="Save it there with: tokenizer.save_pretrained(folder)",
            )
        try:
            return cls.of(FastTokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises bare Exception for a broken file
            raise ModelError(
                f"the tokenizer cannot be read ({error}).",
                place=str(path),
                hint="Save it again with: tokenizer.save_pretrained(folder)",
            ) from error

    def encode_plain(self, text: str) -> list[int]:
        """Return the ids of somebody's text; no control token is ever among them."""
        ids = self._plain(text)
        if self._control_ids.isdisjoint(ids):
            return ids
        # Some vocabularies (Unigram) hold the control tokens' texts as ordinary pieces.
        pieces = self.break_literals(text, "\0").split("\0")
        ids = [i for piece in pieces if piece for i in self._plain(piece)]
        return [i for i in ids if i not in self._control_ids]

    def has_literal(self, text: str) -> bool:
        """Return whether the text spells a control token, also after Unicode normalisation."""
        if self._literals is None:
            return False
        return bool(
            self._literals.search(text)
            or self._literals.search(unicodedata.normalize("NFKC", text))
        )

    def count_literals(self, text: str) -> int:
        """Return how many control tokens a template's text spells."""
        return 0 if self._literals is None else len(self._literals.findall(text))

    def break_literals(self, text: str, with_: str = " ") -> str:
        """Return the text with something put behind the first character of each literal."""
        if self._literals is None:
            return text
        return self._literals.sub(lambda match: match[0][0] + with_ + match[0][1:], text)


def _affixes(bare: list[int], full: list[int]) -> tuple[list[int], list[int]]:
    """Return the ids that a tokenizer puts before and after a text by itself (BOS, EOS)."""
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return full[:start], full[start + len(bare) :]
    return [], []


def _unknown_id(serialised: dict[str, Any], tokenizer: Tokenizer) -> int | None:
    """Return the id for characters that the vocabulary lacks, where the model has one."""
    model = serialised["model"]
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    text = model.get("unk_token")
    # Byte-level vocabularies know every character; what they call unknown is an end token.
    byte_level = "ByteLevel" in json.dumps(serialised.get("pre_tokenizer"))
    found = tokenizer.token_to_id(text) if text and not byte_level else None
    return None if found is None else int(found)
