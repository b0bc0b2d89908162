"""How messages become the one sequence of tokens that a model was trained on.

The model's own chat template (Jinja) decides. A model without one gets the plain layout of the
literature: the system text, an empty line, then ``User: ...`` and ``Chatbot: ...`` lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptbot.errors import InputError, ModelError
from promptbot.types import Message, Role

if TYPE_CHECKING:
    from jinja2 import Template

    from promptbot.models.codec import Codec

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] + '\n' }}"
    "{% else %}{{ 'Chatbot: ' + message['content'] + '\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Chatbot:' }}{% endif %}"
)
_PLAIN_STOP = "\nUser:"
_MARK = re.compile("\ue000([0-9]+)\ue001")
_N_KNOWN = 16


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """A prompt as the model reads it."""

    ids: list[int]
    """Token ids, role markers included."""
    text: str
    """The rendered text."""
    plain: bool
    """Whether no content spells a control token, so that the text alone determines the ids."""


class ChatFormat:
    """Turns messages into token ids; no content ever becomes a control token.

    Contents that spell no control token are encoded together with the template's text, exactly
    as Transformers' ``apply_chat_template`` does. A content that spells one is encoded alone, with
    control tokens disabled, and put in its place.

    Args:
        codec: The model's tokenizer.
        template: Its chat template; None for the plain layout.
        special: Its named special tokens (``bos_token``, ``eos_token``), which templates use.
        eos_ids: The ids that end what the model writes.
        place: The model's name, for errors.
        encoder_input: Whether the prompt is read by an encoder (seq2seq models).
    """

    def __init__(
        self,
        codec: Codec,
        *,
        template: str | None,
        special: Mapping[str, str],
        eos_ids: Sequence[int],
        place: str,
        encoder_input: bool = False,
    ) -> None:
        self.codec = codec
        self.is_plain = template is None
        self._place = place
        self._special = dict(special)
        # Configurations name ids that the vocabulary lacks, such as those of a larger sibling.
        self._eos_ids = [i for i in eos_ids if 0 <= i < codec.n_vocabulary]
        self._encoder_input = encoder_input
        self._template = _compile(PLAIN_TEMPLATE if template is None else template, place)
        self._n_literals: dict[tuple[tuple[str, ...], bool], int] = {}
        self._known: tuple[tuple[str, list[int]], ...] = ()

    def encode(self, messages: Sequence[Message], *, answer: bool = True) -> EncodedPrompt:
        """Return the ids of a prompt; with `answer` it ends where the assistant's text begins.

        Raises:
            ModelError: The model's chat template refuses the messages, or leaves them out.
        """
        messages = list(messages)
        if not self._shows_messages:
            raise ModelError(
                "the model's chat template leaves out what the messages say.",
                place=self._place,
                hint="Repair chat_template.jinja, or remove it to use the plain layout.",
            )
        if any(self.codec.has_literal(message.content) for message in messages):
            return self._guarded(messages, answer)
        text = self._render(messages, answer)
        if self.codec.count_literals(text) != self._expected_literals(messages, answer):
            return self._guarded(messages, answer)
        for known, ids in self._known:
            if text.startswith(known):
                ids = ids + self.codec.encode_marked(text[len(known) :])
                return EncodedPrompt(ids, text, plain=True)
        ids = self._with_affixes(self.codec.encode_marked(text))
        return EncodedPrompt(ids, text, plain=True)

    def count(self, messages: Sequence[Message]) -> int:
        """Return the tokens of these messages, role markers included, without an answer's."""
        return len(self.encode(messages, answer=False).ids) if messages else 0

    def remember(self, prompt: EncodedPrompt, written: Sequence[int], answer: str) -> None:
        """Keep the ids that the model wrote, for the next turn of this conversation.

        The answer's text may be tokenised otherwise than it was written; then the model would not
        recognise its own words, and the prefix cache would lose them.

        Args:
            prompt: What was answered.
            written: The ids of the answer.
            answer: Its text, without white space at its ends and without a stop text.
        """
        if not prompt.plain or not answer or self._encoder_input:
            return
        text = self.codec.decode(written)
        if text.strip() == answer:
            text = self._around_answer[0] + answer  # as the template will write it
        entry = (prompt.text + text, [*prompt.ids, *written])
        self._known = (entry, *self._known[: _N_KNOWN - 1])

    def encode_answer(self, text: str, *, end_of_turn: bool) -> list[int]:
        """Return the ids of an answer, as they follow ``encode(messages, answer=True)``."""
        lead = "" if self._encoder_input else self._around_answer[0]
        ids = self.codec.encode_plain(lead + text) if text else []
        return [*ids, *self.end_ids[:1]] if end_of_turn else ids

    @cached_property
    def end_ids(self) -> list[int]:
        """The token that ends the assistant's message; empty where the model has none."""
        if self._encoder_input:
            return self._eos_ids[:1]
        _, tail = self._around_answer
        return self.codec.encode_marked(tail)[:1] or self._eos_ids[:1]

    @cached_property
    def start_ids(self) -> list[int]:
        """What stands before a text without a prompt: BOS, or else the token that ends a text."""
        return self.codec.prefix_ids or self._named_ids("bos_token") or self._eos_ids[:1]

    def _named_ids(self, name: str) -> list[int]:
        found = self.codec.control.get(self._special.get(name, ""))
        return [] if found is None else [found]

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The ids at which writing ends: end tokens and, with a template, its role markers."""
        ids = {*self._eos_ids}
        if not self.is_plain:
            # A model that opens another role's message has finished its own.
            roles: tuple[Role, ...] = ("system", "user", "assistant", "user")
            talk = [Message(role, _mark(0)) for role in roles]
            skeleton = self.codec.encode_marked(self._render(talk, answer=True))
            ids |= self.codec.special_ids.intersection(skeleton)
        return frozenset(ids)

    @property
    def stop_texts(self) -> tuple[str, ...]:
        """The texts at which writing ends."""
        return (_PLAIN_STOP,) if self.is_plain else ()

    @cached_property
    def _shows_messages(self) -> bool:
        """Whether a user's words reach the prompt."""
        return _mark(0) in self._render([Message("user", _mark(0))], answer=True)

    @cached_property
    def _around_answer(self) -> tuple[str, str]:
        """What stands between the open prompt and an answer, and what follows the answer."""
        user, assistant = Message("user", _mark(0)), Message("assistant", _mark(1))
        opened = self._render([user], answer=True)
        closed = self._render([user, assistant], answer=False)
        start = closed.find(_mark(1))
        if start < 0:
            return "", ""
        lead = closed[len(opened) : start] if closed.startswith(opened) else ""
        return lead, closed[start + len(_mark(1)) :]

    def _guarded(self, messages: list[Message], answer: bool) -> EncodedPrompt:
        """Encode messages of which some spell control tokens."""
        text = self._render(messages, answer)
        skeleton = self._render([Message(m.role, _mark(i)) for i, m in enumerate(messages)], answer)
        for change in (str, str.strip):  # what templates do to contents: nothing, or strip
            contents = [change(m.content) for m in messages]
            if _MARK.sub(lambda match, c=contents: c[int(match[1])], skeleton) == text:  # type: ignore[misc]
                return EncodedPrompt(self._splice(skeleton, contents), text, plain=False)
        # The template does something else with contents, so their place in its output is unknown.
        broken = [Message(m.role, self.codec.break_literals(m.content)) for m in messages]
        text = self._render(broken, answer)
        if self.codec.count_literals(text) != self._expected_literals(messages, answer):
            raise ModelError(
                "the chat template changes messages in a way that could make control tokens "
                "out of their text.",
                place=self._place,
                expected="A message spells one of the model's control tokens.",
                hint="Remove that text, or use a model whose template writes messages unchanged.",
            )
        return EncodedPrompt(self._with_affixes(self.codec.encode_marked(text)), text, plain=False)

    def _splice(self, skeleton: str, contents: Sequence[str]) -> list[int]:
        """Encode the template's text with its control tokens and the contents without."""
        ids: list[int] = []
        run, end = "", 0
        for match in _MARK.finditer(skeleton):
            content = contents[int(match[1])]
            run += skeleton[end : match.start()]
            end = match.end()
            if self.codec.has_literal(content):
                # A space before a word belongs to the word's token.
                space = " " if run.endswith(" ") else ""
                ids += self.codec.encode_marked(run[: len(run) - len(space)])
                ids += self.codec.encode_plain(space + content)
                run = ""
            else:
                run += content
        return self._with_affixes(ids + self.codec.encode_marked(run + skeleton[end:]))

    def _with_affixes(self, ids: list[int]) -> list[int]:
        """Add the tokenizer's own BOS and EOS where no template takes care of them."""
        if self._encoder_input:
            suffix = self.codec.suffix_ids
            return ids if ids[-1:] == suffix[-1:] else [*self.codec.prefix_ids, *ids, *suffix]
        return [*self.codec.prefix_ids, *ids] if self.is_plain else ids

    def _expected_literals(self, messages: Sequence[Message], answer: bool) -> int:
        key = (tuple(message.role for message in messages), answer)
        if key not in self._n_literals:
            marks = [Message(m.role, _mark(i)) for i, m in enumerate(messages)]
            self._n_literals[key] = self.codec.count_literals(self._render(marks, answer))
        return self._n_literals[key]

    def _render(self, messages: Sequence[Message], answer: bool) -> str:
        try:
            return self._fill(messages, answer)
        except Exception as error:  # a template's code raises whatever Python's does
            first_problem = error
        merged = _system_into_user(messages)
        if merged is not None:  # many templates have no system role
            try:
                return self._fill(merged, answer)
            except Exception as error:
                first_problem = error
        raise ModelError(
            f"the model's chat template refuses these messages: {first_problem}.",
            place=self._place,
            expected="Roles: " + ", ".join(message.role for message in messages),
            hint="Check the order of the messages that the bot's template and examples make.",
        ) from first_problem

    def _fill(self, messages: Sequence[Message], answer: bool) -> str:
        return _filled(self._template, messages, self._special, answer)


def load_chat_format(
    codec: Codec, folder: Path, *, eos_ids: Sequence[int], place: str
) -> ChatFormat:
    """Return the chat format that a folder's tokenizer files describe."""
    template, special = _read_template(
        folder / "tokenizer_config.json", folder / "chat_template.jinja"
    )
    return ChatFormat(codec, template=template, special=special, eos_ids=eos_ids, place=place)


def chat_template_in(path: Path) -> tuple[str, dict[str, str]]:
    """Return a chat template and its named special tokens.

    Args:
        path: A checkpoint's folder, its ``tokenizer_config.json``, or a ``.jinja`` file, beside
            which the former may stand.

    Raises:
        InputError: There is none.
    """
    folder = path if path.is_dir() else path.parent
    config_file = path if path.suffix == ".json" else folder / "tokenizer_config.json"
    jinja = path if path.suffix == ".jinja" else folder / "chat_template.jinja"
    try:
        template, special = _read_template(config_file, jinja)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"it cannot be read: {error}.", place=str(path), hint="Check the file."
        ) from None
    if not isinstance(template, str) or not template.strip():
        raise InputError(
            "there is no chat template.",
            place=str(path),
            expected='Expected "chat_template" in tokenizer_config.json, or chat_template.jinja.',
            hint="Take the files of a model that was trained to chat.",
        )
    return template, special


def render_chat(
    template: str,
    messages: Sequence[Message],
    special: Mapping[str, str],
    *,
    place: str,
    answer: bool,
) -> str:
    """Return messages as a chat template writes them; with `answer` up to where an answer begins.

    Raises:
        ModelError: It is no template.
        InputError: It refuses these messages.
    """
    compiled = _compile(template, place)
    try:
        return _filled(compiled, messages, special, answer)
    except Exception as error:  # a template's code raises whatever Python's does
        raise InputError(
            f"the chat template refuses these messages: {error}.",
            place=place,
            expected="Roles: " + ", ".join(message.role for message in messages),
            hint="Take another model's template.",
        ) from None


def _read_template(config_file: Path, jinja: Path) -> tuple[Any, dict[str, str]]:
    """Return the template of a checkpoint's files, None without one, and its special tokens."""
    config = json.loads(config_file.read_text("utf-8")) if config_file.is_file() else {}
    template = jinja.read_text("utf-8") if jinja.is_file() else _named_template(config)
    return template, _special_tokens(config)


def _named_template(config: Mapping[str, Any]) -> Any:
    template = config.get("chat_template")
    if isinstance(template, list):  # several named templates
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    return template


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value if isinstance(value, str) else value["content"]
        for name, value in config.items()
        if name in ("bos_token", "eos_token", "pad_token", "unk_token") and value
    }


def _filled(
    template: Template, messages: Sequence[Message], special: Mapping[str, str], answer: bool
) -> str:
    return template.render(
        **special,
        messages=[{"role": m.role, "content": m.content} for m in messages],
        add_generation_prompt=answer,
    )


def _mark(index: int) -> str:
    """Return a placeholder for a content that no template's text contains."""
    return f"\ue000{index}\ue001"


def _system_into_user(messages: Sequence[Message]) -> list[Message] | None:
    """Return the messages with the system text before the first user message, where both are."""
    if len(messages) < 2 or messages[0].role != "system" or messages[1].role != "user":
        return None
    first = Message("user", f"{messages[0].content}\n\n{messages[1].content}")
    return [first, *messages[2:]]


def _compile(template: str, place: str) -> Template:
    """Return a model's chat template, compiled with what Transformers offers to templates.

    ``strftime_now`` is not offered: a prompt that contains today's date could not be repeated.
    Products and powers are bounded as in the templates of bots.
    """
    import jinja2
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from promptbot.prompt.template_worker import HUGE_BINOPS, refuse_huge

    class Bounded(ImmutableSandboxedEnvironment):
        intercepted_binops = HUGE_BINOPS

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            refuse_huge(operator, left, right)
            return super().call_binop(context, operator, left, right)

    class Generation(Extension):
        """``{% generation %}``, which marks what training learns from, prints what is inside."""

        tags = {"generation"}  # noqa: RUF012 (as Jinja has it)

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = Bounded(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,  # folding would calculate while the template is compiled
        extensions=["jinja2.ext.loopcontrols", Generation],
    )
    environment.filters["tojson"] = lambda value, **options: json.dumps(
        value, ensure_ascii=False, indent=options.get("indent")
    )
    environment.globals["raise_exception"] = raise_exception
    try:
        return environment.from_string(template)
    except jinja2.TemplateError as error:
        raise ModelError(
            f"the model's chat template cannot be parsed: {error}.",
            place=place,
            hint="Repair chat_template.jinja, or remove it to use the plain layout.",
        ) from error
