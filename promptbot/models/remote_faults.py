"""What went wrong at a remote model, said once and clearly, whatever library raised it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from promptbot.errors import ContextOverflow, ModelError, PromptbotError, ProviderError

RETRYABLE = frozenset({408, 409, 425, 429, *range(500, 600)})
"""HTTP states after which the same request may succeed."""


class BadAnswer(Exception):
    """What came back is not an answer, though no library complained.

    Args:
        problem: What was found, as one sentence.
        hint: What to do next.
        may_pass: Whether the same request may succeed.
    """

    def __init__(self, problem: str, *, hint: str, may_pass: bool) -> None:
        super().__init__(problem)
        self.hint = hint
        self.may_pass = may_pass


class Refused(ModelError):
    """The server refused a request as it stands; with other settings it may take it."""


class Silence(Exception):
    """A stream was open and said nothing for too long."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request was about, for messages."""

    spec: str
    """The model's spec; names the place of a fault."""
    name: str
    """The model's name at the provider."""
    server: str
    """The server's address, or the provider's name."""
    keys: tuple[str, ...]
    """Environment variables that may hold the key."""
    own_address: bool
    """Whether the user named the server by its address."""
    timeout_s: float
    """How long an answer may take to begin, and to go on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A diagnosed failure."""

    error: PromptbotError
    """What to raise when no further try is made."""
    may_pass: bool
    """Whether the same request may succeed."""
    wait_s: float | None = None
    """How long the provider asks to wait, in seconds."""
    is_slow: bool = False
    """Whether it took the whole time limit to find out."""
    is_too_fast: bool = False
    """Whether calls come faster than the provider allows."""


def diagnose(error: Exception, asked: Asked) -> Fault:
    """Return what a failure of a provider's library means.

    The user's mistakes (key, model name, a setting that is refused) become `ModelError`, a prompt
    that is too long `ContextOverflow`, everything else `ProviderError`. Keys are masked.
    """
    if isinstance(error, BadAnswer):
        fault = ProviderError(mask(str(error), asked.keys), place=asked.spec, hint=error.hint)
        return Fault(fault, error.may_pass)
    chain = list(_causes(error))
    said = mask(_said(chain), asked.keys)
    if any(_is_overflow(e) for e in chain):
        overflow = ContextOverflow(
            f"the prompt is longer than the model's context: {said}",
            place=asked.spec,
            hint="Show fewer examples or earlier turns, or shorten the message.",
        )
        return Fault(overflow, may_pass=False)
    status = next((s for e in chain if (s := _status(e))), None)
    if status is not None:
        return _of_status(status, said, chain, asked)
    if any(_is_timeout(e) for e in chain):
        late = ProviderError(
            f"{asked.server} said nothing for {asked.timeout_s:g} s.",
            place=asked.spec,
            hint="Try again later, or ask for fewer tokens (decoding.max_new_tokens).",
        )
        return Fault(late, may_pass=True, is_slow=True)
    if asked.own_address and any(isinstance(e, socket.gaierror) for e in chain):
        nowhere = ModelError(
            f"there is no server of this name: {urlsplit(asked.server).hostname}.",
            place=asked.spec,
            hint="Check the address after the @, and the network.",
        )
        return Fault(nowhere, may_pass=False)
    if any(_is_connection(e) for e in chain):
        unreachable = ProviderError(
            f"{asked.server} cannot be reached, or closed the connection: {said}",
            place=asked.spec,
            hint="Check the network, and that the server is running.",
        )
        return Fault(unreachable, may_pass=True)
    garbled = ProviderError(
        f"{asked.server} sent what is no answer ({type(error).__name__}): {said}",
        place=asked.spec,
        hint="Check that this address speaks the provider's protocol.",
    )
    return Fault(garbled, may_pass=isinstance(error, UnicodeDecodeError))


def mask(text: str, keys: Sequence[str]) -> str:
    """Return the text with every value of these environment variables, and what looks like a key,
    replaced by ``***``."""
    for variable in keys:
        for value in (os.environ.get(variable, ""), os.environ.get(variable, "").strip()):
            if len(value) >= 4:
                text = text.replace(value, "***")
    return re.sub(r"\b(sk-|lsv2_|Bearer )[\w*.-]{4,}", r"\1***", text)


def _of_status(status: int, said: str, chain: Sequence[BaseException], asked: Asked) -> Fault:
    server, where = asked.server, asked.spec
    if status in (401, 403) and "logprob" not in said:  # some models refuse these by 403
        variables = " or ".join(asked.keys)
        hint = f"Check the key in {variables}." if variables else "Check your credentials."
        refused = ModelError(f"{server} refused the key ({status}): {said}", place=where, hint=hint)
        return Fault(refused, may_pass=False)
    if status == 404:
        unknown = ModelError(
            f'{server} has no model "{asked.name}" (404): {said}',
            place=where,
            hint="Check the model's name and the address (most end in /v1).",
        )
        return Fault(unknown, may_pass=False)
    if status not in RETRYABLE:
        invalid = Refused(
            f"{server} refused the request ({status}): {said}",
            place=where,
            hint="Change the setting that it names.",
        )
        return Fault(invalid, may_pass=False)
    if status == 429 and any("insufficient_quota" in str(getattr(e, "code", "")) for e in chain):
        spent = ProviderError(
            f"{server} says that the account's quota is spent: {said}",
            place=where,
            hint="Check the account's plan and billing.",
        )
        return Fault(spent, may_pass=False)
    limited = "limits the rate of requests" if status == 429 else "failed"
    failed = ProviderError(
        f"{server} {limited} ({status}): {said}", place=where, hint="Try again later."
    )
    return Fault(failed, True, wait_s=_retry_after(chain), is_too_fast=status == 429)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _bodies(error: BaseException) -> Iterator[Mapping[str, Any]]:
    """Yield what a library parsed from an error's body, outermost first."""
    for body in (getattr(error, "body", None), *error.args):
        if isinstance(body, Mapping):
            yield body
            if isinstance(inner := body.get("error"), Mapping):
                yield inner


def _status(error: BaseException) -> int | None:
    found = [
        getattr(error, "status_code", None),
        getattr(getattr(error, "response", None), "status_code", None),
        getattr(error, "code", None),
        *(body.get("code") for body in _bodies(error)),
    ]
    for value in found:
        try:
            status = int(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        if 400 <= status < 600:
            return status
    return None


def _said(chain: Sequence[BaseException]) -> str:
    """Return the provider's own words, on one line of at most 300 characters."""
    messages = [
        message
        for error in chain
        for body in _bodies(error)
        if isinstance(message := body.get("message") or body.get("error"), str)
    ]
    text = " ".join((messages[0] if messages else str(chain[0])).split())
    return text[:300] or type(chain[0]).__name__


def _is_overflow(error: BaseException) -> bool:
    if type(error).__name__.endswith("ContextOverflowError"):
        return True
    codes = {str(getattr(error, "code", "")), *(str(body.get("code")) for body in _bodies(error))}
    words = r"maximum context length|context window|context size|prompt is too long"
    return "context_length_exceeded" in codes or (
        _status(error) in (400, 413, 422) and bool(re.search(words, str(error), re.IGNORECASE))
    )


def _is_timeout(error: BaseException) -> bool:
    return isinstance(error, Silence | TimeoutError) or "Timeout" in type(error).__name__


def _is_connection(error: BaseException) -> bool:
    names = ("ConnectError", "ConnectionError", "ReadError", "WriteError", "RemoteProtocolError")
    return isinstance(error, ConnectionError) or type(error).__name__.endswith(names)


def _retry_after(chain: Sequence[BaseException]) -> float | None:
    """Return the seconds that the provider asks to wait; its header holds seconds or a date."""
    for error in chain:
        headers = getattr(getattr(error, "response", None), "headers", None) or {}
        value = str(headers.get("retry-after") or "").strip()
        if not value:
            continue
        try:
            return max(0.0, float(value))
        except ValueError:
            pass
        try:
            wait = parsedate_to_datetime(value) - datetime.now(UTC)
        except (TypeError, ValueError):
            continue
        return max(0.0, wait.total_seconds())
    return None
