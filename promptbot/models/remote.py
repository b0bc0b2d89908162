"""Remote models: everything that LangChain's `init_chat_model` reaches, behind our interface."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from promptbot.errors import (
    BrokenOff,
    CannotScore,
    MissingExtra,
    MissingKey,
    ModelError,
    ProviderError,
)
from promptbot.models.connections import keeping_client
from promptbot.models.messages import completion_of, to_langchain
from promptbot.models.pace import Pace
from promptbot.models.provider_labels import TOP, enumerated, option_logprobs
from promptbot.models.providers import (
    PROVIDERS,
    Provider,
    RemoteSpec,
    estimated_tokens,
    parse_remote,
)
from promptbot.models.remote_faults import Asked, BadAnswer, Refused, Silence, diagnose, mask
from promptbot.types import Choice

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

    from promptbot.types import Message, OptionScore, TextScore

TOKENS_OF_A_FORM = 24
"""Tokens that the braces and the field's name of an enumerated answer take at most."""

SETTING_NAMES: Mapping[str, tuple[str, ...]] = {
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "max_new_tokens": (
        "max_tokens",
        "num_predict",
        "max_output_tokens",
        "max_completion_tokens",
        "max_new_tokens",
    ),
    "seed": ("seed", "random_seed"),
    "top_k": ("top_k",),
    "min_p": ("min_p",),
    "repetition_penalty": ("repetition_penalty", "repeat_penalty"),
}
"""How providers' packages name our decoding settings; the first that a package knows is used."""

USAGE_FIELD = "stream_options"
"""What asks a server of OpenAI's protocol for the tokens of a stream; old servers refuse it."""

NEUTRAL: Mapping[str, float] = {"top_p": 1, "top_k": 0, "min_p": 0, "repetition_penalty": 1}
"""Values that change nothing; they are not sent, because some models refuse even these."""

OF_OPEN_SERVERS = ("top_k", "min_p", "repetition_penalty")
"""Settings that OpenAI does not know and servers of its protocol (vLLM, SGLang) take by name."""

TIMEOUT_NAMES = ("timeout", "request_timeout", "default_request_timeout")
"""How providers' packages name the time limit of a request."""

FINISH_NAMES = ("finish_reason", "stop_reason", "done_reason", "status")
"""Where providers' packages say why an answer ended."""

FINISHES: Mapping[str, str] = {
    "max_tokens": "length",
    "model_length": "length",
    "stop_sequence": "stop_string",
    "end_turn": "stop",
    "completed": "stop",
    "incomplete": "length",
}
"""Providers' words for the end of an answer that differ from the ones used here."""


class RemoteChatModel(BaseChatModel):
    """A remote chat model behind promptbot's interface, with retries and clear faults.

    Decoding settings that the provider's package does not know (often ``seed``) are left out.
    Keys come from the environment only.

    Example:
        >>> model = RemoteChatModel(spec="openai:my-model@http://localhost:8000/v1")
        >>> model.revision
        'openai:my-model@http://localhost:8000/v1'

    Raises:
        MissingExtra: The provider's package is not installed (`ModelError` where no extra of ours
            brings it).
        MissingKey: Its key is not in the environment; found before any request.
    """

    spec: str
    """``PROVIDER:NAME`` or ``PROVIDER:NAME@BASE_URL``; the provider is one of `PROVIDERS`."""
    seed: int | None = None
    """Seed of a call that brings none."""
    timeout_s: float = 60.0
    """How long an answer may take to begin, and to go on, in seconds."""
    max_retries: int = 4
    """Further tries after a failure that may pass."""
    backoff_s: float = 0.5
    """Wait before the first retry, in seconds; doubles each time, less up to half by chance."""
    max_wait_s: float = 30.0
    """Longest wait before a retry; a provider that asks for more is not asked again."""

    _pace: Pace = PrivateAttr(default_factory=Pace)
    _remote: RemoteSpec = PrivateAttr()
    _provider: Provider = PrivateAttr()
    _asked: Asked = PrivateAttr()
    _known: frozenset[str] = PrivateAttr()
    _is_openai: bool = PrivateAttr(default=False)
    _refuses_schemas: bool = PrivateAttr(default=False)
    _refuses_logprobs: bool = PrivateAttr(default=False)
    _refuses_usage: bool = PrivateAttr(default=False)
    _connection: dict[str, Any] = PrivateAttr()
    _making: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _by_settings: dict[tuple[tuple[str, Any], ...], BaseChatModel] = PrivateAttr(
        default_factory=dict
    )

    def model_post_init(self, context: Any, /) -> None:
        """Check package and key, and make the provider's model; sends nothing."""
        super().model_post_init(context)
        self._remote = parse_remote(self.spec)
        self._provider = PROVIDERS[self._remote.provider]
        self._asked = Asked(
            spec=self.spec,
            name=self._remote.name,
            server=self._remote.base_url or self._remote.provider,
            keys=self._provider.keys,
            own_address=self._remote.base_url is not None,
            timeout_s=self.timeout_s,
        )
        _check_installed(self._remote.provider, self._provider)
        self._connection = self._address()
        bare = self._init(self._connection)
        self._known = _argument_names(type(bare))
        self._is_openai = _speaks_openai(bare)
        if self._is_openai and "http_client" in self._known:
            self._connection["http_client"] = keeping_client()
            if "http_socket_options" in self._known:
                # With a client for one side alone, it would warn that the other knows no proxy.
                self._connection["http_socket_options"] = ()
        self.profile = bare.profile
        if self._remote.base_url is not None and "base_url" not in self._known:
            raise ModelError(
                f"{self._remote.provider} takes no address.",
                place=self.spec,
                hint=f"Use openai:{self._remote.name}@URL for an OpenAI-compatible server.",
            )
        self._connection |= self._limits()

    @property
    def revision(self) -> str:
        """The spec: providers give no content hash of their weights."""
        return self.spec

    @property
    def context_tokens(self) -> int | None:
        """What LangChain's table says of the model; None when unknown or on another server."""
        if self._remote.base_url is not None or not self.profile:
            return None
        return self.profile.get("max_input_tokens")

    @property
    def can_score(self) -> bool:
        """Never: providers do not give the log-probabilities of a text that they did not write."""
        return False

    def score(
        self, messages: Sequence[Message], options: Sequence[str], *, end_of_turn: bool = True
    ) -> list[OptionScore]:
        """Raise `CannotScore`."""
        raise CannotScore(
            "a remote model only writes; it gives no log-probabilities of label options.",
            place=self.spec,
            hint="Let it write the label (classify bots do so by themselves), "
            "or use a local model.",
        )

    def loglikelihood(self, text: str) -> TextScore:
        """Raise `CannotScore`."""
        raise CannotScore(
            "a remote model only writes; it does not say how likely a given text is.",
            place=self.spec,
            hint="Measure fluency with a local model, such as: embedded",
        )

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return an estimate; see `promptbot.models.providers.estimated_tokens`."""
        return estimated_tokens(messages)

    def cannot_follow(self, json_schema: Mapping[str, Any]) -> str | None:
        """Return why the server is not asked to keep answers to a schema; None: it is asked.

        Whether it does so is its own matter: check the answer.
        """
        if not self._is_openai:
            return f"{self._remote.provider} is not known to take a schema"
        return f"{self._asked.server} refused it" if self._refuses_schemas else None

    def choose(
        self,
        messages: Sequence[Message],
        options: Sequence[str],
        config: RunnableConfig | None = None,
        **settings: Any,
    ) -> Choice:
        """Return what the model chose among options, by the best way that the server offers.

        First by the log-probabilities of the likeliest tokens; where there are none, kept to the
        options by a schema; else by what it writes. What a server refuses once is not asked of it
        again.
        """
        asked = to_langchain(messages)
        if self._is_openai and not self._refuses_logprobs:
            with suppress(Refused):
                return self._choose_by_logprobs(asked, options, config, settings)
            self._refuses_logprobs = True
        if self.cannot_follow({}) is not None:
            return _written(self.invoke(asked, config, **settings))
        longer = {"max_new_tokens": (settings.get("max_new_tokens") or 64) + TOKENS_OF_A_FORM}
        message = self.invoke(asked, config, json_schema=enumerated(options), **(settings | longer))
        choice = _written(message)
        try:
            label = json.loads(choice.text)["label"]
        except (ValueError, TypeError, KeyError):
            return choice
        return replace(choice, how="enumerated", text=label) if label in options else choice

    def _choose_by_logprobs(
        self,
        asked: list[BaseMessage],
        options: Sequence[str],
        config: RunnableConfig | None,
        settings: Mapping[str, Any],
    ) -> Choice:
        message = self.invoke(asked, config, logprobs=True, top_logprobs=TOP, **settings)
        choice = _written(message)
        tokens = (message.response_metadata.get("logprobs") or {}).get("content")
        if not tokens:  # the server took no notice of the wish; its answer counts all the same
            self._refuses_logprobs = True
            return choice
        logprobs = option_logprobs(tokens, options)
        return replace(choice, how="logprobs", logprobs=logprobs) if logprobs else choice

    def digest(self) -> str:
        """Return `revision`; the weights are out of reach."""
        return self.revision

    @property
    def _llm_type(self) -> str:
        return "promptbot-remote"

    @property
    def _identifying_params(self) -> Mapping[str, Any]:
        # Part of the key under which LangChain caches answers.
        return {"spec": self.spec, "seed": self.seed}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        for attempt in itertools.count():
            began = self._pace.wait()
            try:
                model, others = self._for_call(kwargs)
                # The inner model's `invoke` would tell callbacks of every answer a second time.
                result = model._generate(messages, stop=stop or None, **others)
                checked = _checked(result, stop)
            except Exception as error:
                self._wait_or_raise(error, attempt, began, kwargs)
            else:
                self._pace.answered()
                return checked
        raise AssertionError("unreachable")

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for attempt in itertools.count():
            n_characters = 0
            began = self._pace.wait()
            try:
                model, others = self._for_call(kwargs)
                pieces = cast(Any, self._pieces(model, messages, stop or None, others))
                with closing(pieces):
                    for chunk in pieces:
                        n_characters += len(chunk.text)
                        yield chunk
                self._pace.answered()
                return
            except Exception as error:
                if n_characters:
                    raise self._broken_off(error, n_characters) from None
                self._wait_or_raise(error, attempt, began, kwargs)

    def _pieces(
        self,
        model: BaseChatModel,
        messages: list[BaseMessage],
        stop: list[str] | None,
        others: dict[str, Any],
    ) -> Iterator[ChatGenerationChunk]:
        """Yield a stream's chunks, from the first that says something; check that it ended."""
        if type(model)._stream is BaseChatModel._stream:
            yield _as_chunk(_checked(model._generate(messages, stop=stop, **others), stop))
            return
        if self._is_openai and not self._refuses_usage:
            # ChatOpenAI asks OpenAI alone for a stream's tokens; other servers count them too.
            others = others | {"stream_usage": True}
        held: list[ChatGenerationChunk] = []
        spoken, finish = False, None
        heard_at = time.monotonic()
        with closing(cast(Any, model._stream(messages, stop=stop, **others))) as chunks:
            for chunk in chunks:
                finish = _note_finish(chunk) or finish
                if _says_something(chunk.message):
                    yield from held
                    held.clear()
                    spoken, heard_at = True, time.monotonic()
                elif time.monotonic() - heard_at > self.timeout_s:
                    raise Silence
                # Nothing is handed on before the first word, so that a failed start is repeated
                # without a trace in the answer.
                if spoken:
                    yield chunk
                else:
                    held.append(chunk)
        if finish is None and _speaks_openai(model):
            raise BadAnswer(
                "the stream ended before the answer did.",
                hint="Try again; if it stays, look into the server's log.",
                may_pass=True,
            )
        _check_empty(spoken, finish, stop)
        yield from held

    def _for_call(self, kwargs: Mapping[str, Any]) -> tuple[BaseChatModel, dict[str, Any]]:
        """Return the provider's model with a call's decoding settings, and its other arguments.

        Settings go to the constructor: that is where packages agree on names and leave out what a
        model refuses, and some ignore them in a call.
        """
        others = dict(kwargs)
        settings = {name: others.pop(name, None) for name in SETTING_NAMES}
        if settings["seed"] is None:
            settings["seed"] = self.seed
        given = {
            name: value
            for name, value in settings.items()
            if value is not None and value != NEUTRAL.get(name)
        }
        key = tuple(sorted(given.items()))
        with self._making:  # threads that begin together would each make one
            if key not in self._by_settings:
                self._by_settings[key] = self._init(self._connection | self._renamed(given))
        json_schema = others.pop("json_schema", None)
        if json_schema is not None and self.cannot_follow(json_schema) is None:
            # In the body itself: the package would parse the answer, and raise where it is cut.
            body = self._renamed(given).get("extra_body", {})
            others["extra_body"] = body | {"response_format": _response_format(json_schema)}
        return self._by_settings[key], others

    def _renamed(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return decoding settings under the package's names, without those it does not know."""
        arguments = {
            name: value
            for setting, value in settings.items()
            if (name := _first_known(SETTING_NAMES[setting], self._known))
        }
        if self._remote.provider == "openai" and self._remote.base_url:
            body = {name: settings[name] for name in OF_OPEN_SERVERS if name in settings}
            if "max_tokens" in arguments:
                # ChatOpenAI sends OpenAI's newer name, which other servers often do not know.
                body["max_tokens"] = arguments.pop("max_tokens")
            if body:
                arguments["extra_body"] = body
        return arguments

    def _address(self) -> dict[str, Any]:
        """Return where the server is, and the key where it is ours to pass.

        Raises:
            MissingKey: There is none, and the server is the provider's own.
        """
        variables, base_url = self._provider.keys, self._remote.base_url
        address = {"base_url": base_url} if base_url is not None else {}
        values = ((name, os.environ.get(name, "").strip()) for name in variables)
        variable, key = next(((n, v) for n, v in values if v), ("", ""))
        if not (key.isascii() and key.isprintable()):
            raise ModelError(
                f"the value of {variable} cannot be a key: it holds other than ASCII characters.",
                place=self.spec,
                hint="Copy the key again.",
            )
        if variables and not key and base_url is None:
            raise MissingKey(
                f"{self._remote.provider} needs a key.",
                place=self.spec,
                expected=f"Expected it in the environment variable {' or '.join(variables)}.",
                hint="Set the variable, or choose another model, such as: --model embedded",
            )
        if variables and not key:
            # Servers of one's own rarely want a key, and the clients insist on one.
            return address | {"api_key": "none"}
        # Other packages read their variables themselves; a key with outer spaces is common here.
        return address | ({"api_key": key} if self._remote.provider == "openai" else {})

    def _limits(self) -> dict[str, Any]:
        """Return the time limit as the package names it, and no retries but ours."""
        limits: dict[str, Any] = {"max_retries": 0} if "max_retries" in self._known else {}
        if name := _first_known(TIMEOUT_NAMES, self._known):
            return limits | {name: self.timeout_s}
        if "client_kwargs" in self._known:
            return limits | {"client_kwargs": {"timeout": self.timeout_s}}
        return limits

    def _init(self, arguments: Mapping[str, Any]) -> BaseChatModel:
        """Return the provider's model; sends nothing."""
        from langchain.chat_models import init_chat_model

        remote = self._remote
        try:
            model = init_chat_model(remote.name, model_provider=remote.provider, **arguments)
        except ImportError as error:
            raise ModelError(
                f"{self._provider.package} cannot be imported: {error}",
                place=self.spec,
                hint=f"Install it again: pip install {self._provider.package}",
            ) from None
        except Exception as error:
            said = " ".join(mask(str(error), self._provider.keys).split())[:300]
            raise ModelError(
                f"{remote.provider} refuses these settings: {said}",
                place=self.spec,
                hint=f"Set what {self._provider.package} needs in the environment.",
            ) from None
        return cast(BaseChatModel, model)

    def _wait_or_raise(
        self, error: Exception, attempt: int, began: float, kwargs: Mapping[str, Any]
    ) -> None:
        """Wait before the next try, or raise what the failure means when there is none."""
        fault = diagnose(error, self._asked)
        asked_for_form = "json_schema" in kwargs and not self._refuses_schemas
        if asked_for_form and isinstance(fault.error, Refused):
            self._refuses_schemas = True  # the same request is made again, without
            return
        if not self._refuses_usage and USAGE_FIELD in str(fault.error):
            self._refuses_usage = True
            return
        if fault.is_too_fast and (fault.wait_s or 0.0) <= self.max_wait_s:
            self._pace.refused(began, fault.wait_s)
        wait_s = fault.wait_s
        if wait_s is None:
            wait_s = min(self.max_wait_s, self.backoff_s * 2**attempt * random.uniform(0.5, 1))
        # Another try after silence costs the whole time limit, so there is one.
        n_retries = min(1, self.max_retries) if fault.is_slow else self.max_retries
        if fault.may_pass and attempt < n_retries and wait_s <= self.max_wait_s:
            time.sleep(wait_s)
            return
        if not fault.may_pass:
            raise fault.error from None
        hint = fault.error.hint
        if wait_s > self.max_wait_s:
            hint = f"The provider asks to wait {wait_s:.0f} s; try again then."
        tried = f"Tried {attempt + 1} times." if attempt else None
        raise ProviderError(
            fault.error.problem, place=self.spec, expected=tried, hint=hint
        ) from None

    def _broken_off(self, error: Exception, n_characters: int) -> BrokenOff:
        fault = diagnose(error, self._asked)
        return BrokenOff(
            f"the answer broke off after {n_characters} characters: {fault.error.problem}",
            place=self.spec,
            hint="Ask again.",
        )


def load_remote(spec: str, seed: int) -> RemoteChatModel:
    """Return the remote model that a spec names; see `RemoteChatModel`."""
    return RemoteChatModel(spec=spec, seed=seed)


def _written(message: AIMessage) -> Choice:
    text = str(message.text)
    return Choice("written", text, completion_of(text, message))


def _response_format(json_schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as OpenAI's protocol takes it; strict where it meets the strict rules."""
    form = {"name": "answer", "schema": dict(json_schema), "strict": _is_strict(json_schema)}
    return {"type": "json_schema", "json_schema": form}


def _is_strict(schema: object) -> bool:
    """Return whether every object in a schema is closed and requires all of its properties."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object":
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("properties", ())) != set(schema.get("required", ())):
            return False
    return all(map(_is_strict, schema.values()))


def _check_installed(name: str, provider: Provider) -> None:
    if importlib.util.find_spec(provider.module.split(".")[0]) is not None:
        return
    if provider.extra:
        raise MissingExtra(f"{name}:", provider.package, provider.extra)
    raise ModelError(
        f"{name}: needs {provider.package}.",
        hint=f'Install it with: pip install "{provider.package}"',
    )


def _argument_names(model: type[BaseChatModel]) -> frozenset[str]:
    fields = model.model_fields
    return frozenset(fields) | {field.alias for field in fields.values() if field.alias}


def _first_known(names: Sequence[str], known: frozenset[str]) -> str | None:
    return next((name for name in names if name in known), None)


def _speaks_openai(model: BaseChatModel) -> bool:
    """Whether its protocol is OpenAI's, whose streams always say why they end."""
    return any(base.__module__.startswith("langchain_openai.") for base in type(model).__mro__)


def _says_something(message: BaseMessage) -> bool:
    return bool(str(message.text)) or bool(getattr(message, "tool_calls", None))


def _note_finish(generation: ChatGeneration) -> str | None:
    """Return why an answer ended, and write it where every engine does; None if it is not said."""
    info, metadata = generation.generation_info or {}, generation.message.response_metadata
    said = next((v for n in FINISH_NAMES if (v := metadata.get(n) or info.get(n))), None)
    if said is None:
        return None
    finish = FINISHES.get(str(said).lower(), str(said).lower())
    generation.generation_info = {**info, "finish_reason": finish}
    if "finish_reason" in metadata:
        metadata["finish_reason"] = finish
    return finish


def _checked(result: ChatResult, stop: Sequence[str] | None) -> ChatResult:
    """Return an answer that is one.

    Raises:
        BadAnswer: It says nothing.
    """
    if not result.generations:
        _check_empty(False, None, stop)
    else:
        generation = result.generations[0]
        _check_empty(_says_something(generation.message), _note_finish(generation), stop)
    return result


def _check_empty(spoken: bool, finish: str | None, stop: Sequence[str] | None) -> None:
    # An answer that begins with a stop text is empty and right.
    if spoken or (stop and finish in ("stop", "stop_string")):
        return
    if finish == "length":
        raise BadAnswer(
            "the model used up its tokens before the first word.",
            hint="Raise decoding.max_new_tokens; models that reason first need hundreds.",
            may_pass=False,
        )
    ended = f" and ended with {finish}" if finish else ""
    raise BadAnswer(
        f"the model said nothing{ended}.",
        hint="Try again, or change the prompt; a content filter may have caught it.",
        may_pass=False,
    )


def _as_chunk(result: ChatResult) -> ChatGenerationChunk:
    generation = result.generations[0]
    message = cast(AIMessage, generation.message)
    return ChatGenerationChunk(
        message=AIMessageChunk(
            content=message.content,
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
        ),
        generation_info=generation.generation_info,
    )
