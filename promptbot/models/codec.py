"""Text to token ids and back, with a wall between text and control tokens."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptbot.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MARKUP = re.compile(r"[<\[{|].*[>\]}|]", re.DOTALL)


class Codec:
    """Encodes a chat template's text, where control tokens count, and contents, where they do not.

    Control tokens are a tokenizer's special tokens and those of its added tokens that look like
    markup (``<think>``); added tokens for runs of spaces are ordinary text.

    Args:
        tokenizer: Of the model; truncation and padding are switched off.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        from tokenizers import Tokenizer as FastTokenizer

        tokenizer.no_truncation()
        tokenizer.no_padding()
        serialised = tokenizer.to_str()
        self._tokenizer = tokenizer
        self._plain = FastTokenizer.from_str(serialised)
        self._plain.encode_special_tokens = True
        added = tokenizer.get_added_tokens_decoder()
        special = {i for i, token in added.items() if token.special}
        control = {
            token.content: i
            for i, token in added.items()
            if token.special or _MARKUP.fullmatch(token.content)
        }
        unknown = _unknown_id(serialised, tokenizer)
        self.control = {text: i for text, i in control.items() if i != unknown}
        """Id by text of every control token; the one for unknown characters is not among them."""
        self.special_ids = frozenset(special & set(self.control.values()))
        """Ids of the control tokens that the tokenizer itself calls special."""
        self._control_ids = frozenset(self.control.values())
        longest_first = sorted(self.control, key=len, reverse=True)
        self._literals = (
            re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
        )
        self.prefix_ids, self.suffix_ids = self._affixes()
        self.n_vocabulary = tokenizer.get_vocab_size()

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
            return cls(FastTokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises bare Exception for a broken file
            raise ModelError(
                f"the tokenizer cannot be read ({error}).",
                place=str(path),
                hint="Save it again with: tokenizer.save_pretrained(folder)",
            ) from error

    def encode_marked(self, text: str) -> list[int]:
        """Return the ids of text in which control tokens are control tokens."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def encode_plain(self, text: str) -> list[int]:
        """Return the ids of somebody's text; no control token is ever among them."""
        ids = self._encode_unmarked(text)
        if self._control_ids.isdisjoint(ids):
            return ids
        # Some vocabularies (Unigram) hold the control tokens' texts as ordinary pieces.
        pieces = self.break_literals(text, "\0").split("\0")
        ids = [i for piece in pieces if piece for i in self._encode_unmarked(piece)]
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

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; special tokens are left out."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))

    def _encode_unmarked(self, text: str) -> list[int]:
        return list(self._plain.encode(text, add_special_tokens=False).ids)

    def _affixes(self) -> tuple[list[int], list[int]]:
        """Return the ids that the tokenizer itself puts before and after a text (BOS, EOS)."""
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        full = self._tokenizer.encode("a").ids
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return list(full[:start]), list(full[start + len(bare) :])
        return [], []


def _unknown_id(serialised: str, tokenizer: Tokenizer) -> int | None:
    """Return the id for characters that the vocabulary lacks, where the model has one."""
    model = json.loads(serialised)["model"]
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    text = model.get("unk_token")
    # Byte-level vocabularies know every character; what they call unknown is an end token.
    byte_level = "ByteLevel" in json.dumps(json.loads(serialised).get("pre_tokenizer"))
    return tokenizer.token_to_id(text) if text and not byte_level else None
