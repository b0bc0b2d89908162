"""The values that travel between promptbot's layers.

One chat turn reads straight down:
``Message -> [Example], [Note], [Message] -> Prompt -> Completion -> Reply (+ Trace)``.
Every value is a frozen dataclass, so a step cannot change what an earlier step decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Literal, TypeVar

Role = Literal["system", "user", "assistant"]
"""Who says a message."""

PartKind = Literal["system", "examples", "turns", "question"]
"""The parts of a prompt, in the order in which the model reads them."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation or of a prompt."""

    role: Role
    """Who says it."""
    content: str
    """Plain text; never interpreted as a template or as control tokens."""


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled pair that may be shown inside a prompt (papers: demonstration)."""

    input: str
    """What the user says."""
    output: str
    """What the assistant should answer; in a classify bot the label's first wording."""
    label: str | None = None
    """The label's name, in classify bots only."""
    line: int = 0
    """Line of its file, from 1; 0 when it was made in code."""


@dataclass(frozen=True, slots=True)
class Note:
    """One piece of a bot's knowledge."""

    question: str
    """The question it answers, or its heading."""
    answer: str
    """What to say."""
    source: str
    """Where it comes from: its own source, else file and line, as ``knowledge.jsonl:12``."""

    @property
    def text(self) -> str:
        """Question and answer as one text."""
        return f"{self.question}\n{self.answer}" if self.question else self.answer


@dataclass(frozen=True, slots=True)
class Sample:
    """One input with its target, used to evaluate; never shown inside a prompt."""

    id: str
    """Unique within its data set."""
    input: str
    """What the user says."""
    target: str
    """The wanted text, or the label's name."""


@dataclass(frozen=True, slots=True)
class Chosen(Generic[T]):
    """An example or a note that was chosen for one input, and how near it lies."""

    item: T
    """The example or note."""
    similarity: float | None
    """Cosine similarity with the input, in [-1, 1]; None when the choice did not measure it."""
    score: float | None = None
    """What else decided the choice: BM25, overlap, coverage, marginal relevance, fused ranks."""

    @property
    def nearness(self) -> float | None:
        """How near it lies, comparable within one choice; None when nothing was measured."""
        return self.score if self.similarity is None else self.similarity


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a prompt with its size."""

    kind: PartKind
    """Which part."""
    messages: tuple[Message, ...]
    """Its messages, in reading order."""
    n_tokens: int
    """Tokens of these messages, their role markers included."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that was chosen and then left out of the prompt."""

    kind: Literal["turn", "example", "note"]
    """What it is."""
    text: str
    """Its text."""
    reason: str
    """Why, for a person to read."""


@dataclass(frozen=True, slots=True)
class Recall:
    """What the memory gave to a prompt."""

    kind: str
    """The kind of memory, as bot.yaml names it."""
    n_turns: int
    """Earlier turns of the session."""
    n_recalled: int
    """Of these, how many stand in the prompt word for word, before anything was dropped."""
    n_condensed: int = 0
    """How many older turns the summary, or the facts, were made from."""
    summary: str = ""
    """What the older turns said, in short; empty for other kinds of memory."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the user said about themselves, by name; empty for other kinds of memory."""
    n_asked: int = 0
    """How often the model was asked to condense turns for this prompt."""
    problem: str | None = None
    """Why turns could not be condensed; the older summary or facts then stand."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered template as chat messages, with everything that explains it."""

    parts: tuple[Part, ...]
    """System, examples, turns and question; a part without messages is absent."""
    n_tokens: int
    """Tokens of the whole prompt, as the model counts them."""
    max_tokens: int | None
    """What the prompt may have at most; None when the model's context is unknown."""
    examples: tuple[Chosen[Example], ...] = ()
    """Examples shown, in reading order."""
    notes: tuple[Chosen[Note], ...] = ()
    """Notes shown, in reading order."""
    dropped: tuple[Dropped, ...] = ()
    """What did not fit."""
    memory: Recall | None = None
    """What the memory gave."""
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)
    """Wall-clock seconds by step: ``select``, ``retrieve``, ``render``; with the last one, what
    was needed to fit it into the context."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """Every message, in reading order."""
        return tuple(message for part in self.parts for message in part.messages)


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model wrote, and what it cost."""

    text: str
    """Raw text of the model."""
    n_prompt_tokens: int = 0
    """Tokens that were read."""
    n_cached_tokens: int = 0
    """Of these, how many were in the prefix cache and not computed again."""
    n_generated_tokens: int = 0
    """Tokens that were written."""
    stop_reason: Literal["end", "length", "stop", "interrupted", "scored", "rule"] = "end"
    """Why it ended; ``scored`` and ``rule`` say that nothing was written."""


@dataclass(frozen=True, slots=True)
class OptionScore:
    """How likely a model finds one option after a prompt."""

    option: str
    """The option's text."""
    logprob: float
    """Sum of the token log-probabilities, in nats."""
    token_logprobs: tuple[float, ...]
    """Log-probability of each token, in nats."""

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token, in nats."""
        return self.logprob / len(self.token_logprobs)

    @property
    def per_byte(self) -> float:
        """Log-probability by UTF-8 byte of the option, in nats; comparable between tokenizers.

        An empty option, of which only the end of the turn was scored, counts as one byte.
        """
        return self.logprob / max(1, len(self.option.encode()))


@dataclass(frozen=True, slots=True)
class Choice:
    """What a model that only writes chose among options."""

    how: Literal["logprobs", "enumerated", "written"]
    """By the provider's log-probabilities, kept to the options by the provider, or freely."""
    text: str
    """The option, or whatever it wrote."""
    completion: Completion
    """What it wrote, and what that cost."""
    logprobs: Mapping[str, float] = field(default_factory=dict)
    """Log-probability by option, in nats, where the provider gave some."""


@dataclass(frozen=True, slots=True)
class TextScore:
    """How likely a model finds a text that stands alone: its fluency."""

    logprob: float
    """Sum of the token log-probabilities, in nats."""
    n_tokens: int
    """Tokens that were scored."""
    n_bytes: int
    """UTF-8 bytes of the text."""

    @property
    def per_token(self) -> float:
        """Mean log-probability of a token, in nats."""
        return self.logprob / self.n_tokens

    @property
    def per_byte(self) -> float:
        """Log-probability by byte, in nats; comparable between tokenizers."""
        return self.logprob / self.n_bytes


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a predictor answers to one sample; prompted chains and baselines alike."""

    text: str
    """The answer's text."""
    label: str | None = None
    """The label's name; None for chat bots and where the text could not be parsed."""
    label_logprobs: Mapping[str, float] = field(default_factory=dict)
    """Normalised log-probability by label, in nats; empty when nothing was scored."""
    n_prompt_tokens: int | None = None
    """Tokens that were read; None for predictors that read no prompt. Both counts are estimates
    where a provider does not tell them."""
    n_generated_tokens: int | None = None
    """Tokens that were written; None where nothing was."""
    messages: tuple[Message, ...] = ()
    """The prompt that was read; empty for predictors that read none."""
    notes: tuple[Note, ...] = ()
    """The notes in that prompt, in reading order."""
    first_token_s: float | None = None
    """Seconds from asking the model to the first piece of its answer; None where not streamed."""
    cost: float | None = None
    """What the answer cost, in the currency of the suite's ``prices``; None where unknown."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One of the answers that a model wrote for a reply."""

    text: str
    """What it wrote."""
    problem: str | None = None
    """Why it was not good enough; None where it was."""


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """What was asked of the form of an answer, and what came of it."""

    how: Literal["constrained", "checked"]
    """Whether the model was kept to the schema while it wrote, or looked at afterwards only."""
    attempts: tuple[Attempt, ...]
    """Every answer that was written, in order; each is one call of the model."""
    votes: Mapping[str, int] = field(default_factory=dict)
    """Answers by what they say, the most frequent first; empty where none was voted on."""
    remarks: tuple[str, ...] = ()
    """What was done otherwise than the settings say, and why."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How a label was found, and what that cost."""

    how: Literal["scored", "logprobs", "enumerated", "written"]
    """By log-probabilities of the wordings; by those that the provider gives for its likeliest
    tokens; by an answer that the provider keeps to the wordings; or by what the model wrote."""
    calibration: str = "none"
    """The method that corrected the scores."""
    before: Mapping[str, float] = field(default_factory=dict)
    """Normalised log-probability by label before calibration, in nats; empty when written."""
    prior: Mapping[str, float] = field(default_factory=dict)
    """What they were divided by, in nats, normalised; empty for other methods."""
    calibrated: Mapping[str, float] = field(default_factory=dict)
    """After the method and before neighbours, in nats."""
    neighbours: Mapping[str, float] = field(default_factory=dict)
    """Probability by label of the pool's nearest examples; only labels that they have."""
    n_orders: int = 1
    """Orders of the examples over which all scores here are means."""
    by_variant: Mapping[str, str] = field(default_factory=dict)
    """Likeliest label by variant, where all scores here are means over variants."""
    abstained: bool = False
    """Whether no label reached ``verbalizer.min_probability``."""
    n_prompts: int = 1
    """Prompts that the model read for this reply; each is one forward pass in most models."""
    n_prompt_tokens: int = 0
    """Tokens of all of them, those in the prefix cache included."""
    remarks: tuple[str, ...] = ()
    """What was done otherwise than the settings say, and why."""


PersonalKind = Literal["email", "iban", "card", "national_id", "ip", "phone"]
"""Kinds of personal data that can be redacted."""


@dataclass(frozen=True, slots=True)
class GuardEvent:
    """Something that a bot's guard did; never the data itself."""

    what: str
    """``redacted`` with the kind of data, ``secret``, ``emergency`` or ``max_turns``."""
    where: Literal["message", "reply"]
    """In what."""
    count: int
    """How often; for ``max_turns`` the turns before."""
    rule: str = ""
    """The pattern that an emergency met."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that explains one reply."""

    bot: str
    """The bot's name."""
    variant: str
    """The variant's name; ``default`` for bot.yaml as it stands."""
    bot_hash: str
    """Content hash of templates, examples, notes and settings."""
    model: str
    """The model's spec."""
    model_revision: str
    """Content hash of the model's weights, or the provider's name for it."""
    encoder_revision: str | None
    """Content hash of the encoder; None when nothing was compared."""
    seed: int
    """Seed of everything random."""
    prompt: Prompt
    """Exactly what the model read."""
    completion: Completion
    """Exactly what the model wrote."""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    """How the model was asked to write (``bot.yaml``, decoding); empty where it wrote nothing. A
    provider takes those settings that it knows."""
    label_logprobs: Mapping[str, float] = field(default_factory=dict)
    """Normalised log-probability by label, in nats, calibrated; classify bots only."""
    decision: Decision | None = None
    """How the label was found; classify bots only."""
    output: OutputCheck | None = None
    """How the answer's form was kept; None where nothing was asked of it."""
    guard: tuple[GuardEvent, ...] = ()
    """What the bot's guard did with message and reply."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds by step: ``memory``, ``compose`` (and within it ``select``, ``retrieve``,
    ``render``), ``first_token``, ``model``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the trace as plain JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reply:
    """The bot's answer to one message.

    A streamed reply comes in pieces that add up with ``+``: their texts are joined, and the
    last piece brings the label and the trace.
    """

    text: str
    """What the bot says."""
    session: str
    """The session it belongs to."""
    label: str | None = None
    """The label's name, in classify bots."""
    trace: Trace | None = None
    """What explains the reply; None only in the pieces of a stream before the last."""
    data: Any = None
    """The JSON value of a bot with ``output.format: json``; None where the answer was none."""

    def __add__(self, other: Reply) -> Reply:
        """Join two pieces of one streamed reply."""
        return Reply(
            text=self.text + other.text,
            session=other.session,
            label=other.label or self.label,
            trace=other.trace or self.trace,
            data=self.data if other.data is None else other.data,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the reply as plain JSON-ready values, one line of ``--json``."""
        trace = self.trace.to_dict() if self.trace else None
        said = {"text": self.text, "label": self.label, "session": self.session}
        return said | ({} if self.data is None else {"data": self.data}) | {"trace": trace}
