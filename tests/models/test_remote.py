"""Remote models against a local server that speaks OpenAI's protocol, well and badly."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage, SystemMessage

from promptbot.errors import (
    CannotScore,
    ContextOverflow,
    MissingExtra,
    MissingKey,
    ModelError,
    ProviderError,
)
from promptbot.interfaces import FrozenModel
from promptbot.models import remote_faults
from promptbot.models.registry import load_model
from promptbot.models.remote import RemoteChatModel
from promptbot.types import Message

KEY = "sk-test-0123456789abcdef"
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 2,
    "total_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 5},
}


@dataclass
class Answer:
    """What the server does with one request."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    stream: bool = False
    cut: bool = False  # announce more bytes than are sent
    holds: bool = False  # and keep the connection open all the same


def said(text: str | None, finish: str = "stop", **extra: Any) -> Answer:
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": text},
    }
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", **extra}
    return Answer(json.dumps({**body, "choices": [choice], "usage": USAGE}).encode())


def refused(status: int, message: str = "no", headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps({"error": {"message": message, "code": None}}).encode()
    return Answer(body, status, headers or {})


def event(text: str | None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"role": "assistant", "content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return b"data: " + json.dumps({**body, "choices": [choice]}).encode() + b"\n\n"


def streamed(*events: bytes, done: bool = True, cut: bool = False) -> Answer:
    end = b"data: [DONE]\n\n" if done else b""
    return Answer(b"".join(events) + end, stream=True, cut=cut)


class Server(ThreadingHTTPServer):
    """Answers requests from a list, the last answer for ever, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.callers: list[tuple[str, int]] = []
        self.release = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.asked.append(json.loads(self.rfile.read(length)))
        self.server.keys.append(self.headers.get("Authorization"))
        self.server.callers.append(self.client_address)
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        time.sleep(answer.delay_s)
        try:
            self.send_response(answer.status)
            kind = "text/event-stream" if answer.stream else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer.body) + 100 * answer.cut))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            if answer.holds:
                self.server.release.wait(30)
            self.close_connection = answer.cut
        except OSError:
            pass  # the client gave up waiting, as some tests want

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


def model_of(server: Server, *answers: Answer, **settings: Any) -> RemoteChatModel:
    server.answers = list(answers)
    quick = {"timeout_s": 5.0, "max_retries": 2, "backoff_s": 0.001, "max_wait_s": 0.05}
    return RemoteChatModel(spec=f"openai:m@{server.url}", **(quick | settings))


def ask(model: RemoteChatModel, **kwargs: Any) -> str:
    return str(model.invoke("hi", **kwargs).text)


def ask_streaming(model: RemoteChatModel, **kwargs: Any) -> str:
    return "".join(str(chunk.text) for chunk in model.stream("hi", **kwargs))


BOTH = pytest.mark.parametrize("verb", [ask, ask_streaming], ids=["invoke", "stream"])


def test_messages_and_decoding_settings_reach_the_server(server: Server) -> None:
    model = model_of(server, said("Hello."), seed=3)
    answer = model.invoke(
        [SystemMessage("Be brief."), HumanMessage("hi")],
        temperature=0.0,
        top_p=0.5,
        max_new_tokens=8,
        stop=["\n"],
    )
    assert answer.text == "Hello."
    asked = server.asked[0]
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    settings = {k: v for k, v in asked.items() if k not in ("messages", "stream")}
    assert settings == {
        "model": "m",
        "temperature": 0.0,
        "top_p": 0.5,
        "max_tokens": 8,
        "stop": ["\n"],
        "seed": 3,
    }


def test_settings_that_openai_lacks_reach_a_server_of_ones_own(server: Server) -> None:
    ask(model_of(server, said("Hello.")), top_k=5, min_p=0.1, repetition_penalty=1.2)
    asked = server.asked[0]
    assert (asked["top_k"], asked["min_p"], asked["repetition_penalty"]) == (5, 0.1, 1.2)


def test_settings_that_change_nothing_are_not_sent(server: Server) -> None:
    ask(model_of(server, said("Hello.")), top_k=0, min_p=0.0, repetition_penalty=1.0, top_p=1.0)
    assert {"top_k", "min_p", "repetition_penalty", "top_p"}.isdisjoint(server.asked[0])


def test_openai_itself_is_not_sent_what_it_would_refuse(server: Server) -> None:
    model = RemoteChatModel(spec="openai:gpt-4o-mini")
    assert model._renamed({"top_k": 5, "temperature": 0.5}) == {"temperature": 0.5}


def test_the_decoding_of_a_bot_without_stops_is_accepted(server: Server) -> None:
    model = model_of(server, said("Hello."))
    ask(model, temperature=0.7, top_p=1.0, max_new_tokens=8, stop=[], seed=11)
    assert "stop" not in server.asked[0]
    assert "top_p" not in server.asked[0]
    assert server.asked[0]["seed"] == 11


def test_usage_and_the_reason_of_the_end_are_reported(server: Server) -> None:
    answer = model_of(server, said("Hello", finish="length")).invoke("hi")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["input_tokens"] == 7
    assert answer.usage_metadata["input_token_details"]["cache_read"] == 5
    assert answer.response_metadata["finish_reason"] == "length"


def test_a_stream_is_asked_for_its_tokens_and_does_without_where_that_is_refused(
    server: Server,
) -> None:
    answers = [refused(400, "stream_options: extra field"), streamed(event("A"), event("", "stop"))]
    model = model_of(server, *answers, answers[1])
    assert [ask_streaming(model) for _ in range(2)] == ["A", "A"]
    assert [asked.get("stream_options") for asked in server.asked] == [
        {"include_usage": True},
        None,
        None,
    ]


def test_a_stream_arrives_in_pieces_and_tells_its_end(server: Server) -> None:
    model = model_of(
        server, streamed(event(""), event("Guten "), event("Tag"), event(None, "stop"))
    )
    chunks = list(model.stream("hi"))
    assert [str(c.text) for c in chunks if c.text] == ["Guten ", "Tag"]
    assert sum(chunks[1:], start=chunks[0]).response_metadata["finish_reason"] == "stop"


def test_threads_that_begin_together_share_one_client(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(server, *[said("yes")] * 4)
    made, make = [], RemoteChatModel._init

    def slowly(self: RemoteChatModel, arguments: Any) -> Any:
        made.append(1)
        time.sleep(0.1)
        return make(self, arguments)

    monkeypatch.setattr(RemoteChatModel, "_init", slowly)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: ask(model, temperature=0.25), range(4))) == ["yes"] * 4
    assert len(made) == 1


def test_callbacks_hear_of_one_answer_once(server: Server) -> None:
    class Ear(BaseCallbackHandler):
        starts = 0
        tokens: list[str]

        def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
            self.starts += 1

        def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
            self.tokens = [*getattr(self, "tokens", []), str(token)]

    ear = Ear()
    model = model_of(server, streamed(event("a"), event("b"), event(None, "stop")))
    list(model.stream("hi", config={"callbacks": [ear]}))
    assert (ear.starts, [token for token in ear.tokens if token]) == (1, ["a", "b"])


@BOTH
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_tried_again(
    server: Server, verb: Callable[..., str], status: int
) -> None:
    good = (
        streamed(event("Hello."), event(None, "stop")) if verb is ask_streaming else said("Hello.")
    )
    model = model_of(server, refused(status), refused(status), good)
    assert verb(model) == "Hello."
    assert len(server.asked) == 3


@BOTH
@pytest.mark.parametrize("status", [429, 500])
def test_a_lasting_fault_is_the_providers(
    server: Server, verb: Callable[..., str], status: int
) -> None:
    model = model_of(server, refused(status, "too busy"))
    with pytest.raises(ProviderError, match=rf"\({status}\): too busy\nTried 3 times") as caught:
        verb(model)
    assert caught.value.exit_status == 1
    assert len(server.asked) == 3


def test_retry_after_is_waited_for(server: Server) -> None:
    limited = refused(429, headers={"Retry-After": "0.3"})
    model = model_of(server, limited, said("Hello."), max_wait_s=1.0)
    started = time.monotonic()
    assert ask(model) == "Hello."
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("as_date", [False, True])
def test_a_longer_wait_than_allowed_ends_the_tries(server: Server, as_date: bool) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    limited = refused(429, headers={"Retry-After": later if as_date else "600"})
    with pytest.raises(ProviderError, match=r"asks to wait (600|599) s"):
        ask(model_of(server, limited))
    assert len(server.asked) == 1


def test_a_spent_quota_is_not_tried_again(server: Server) -> None:
    body = json.dumps({"error": {"message": "You ran out.", "code": "insufficient_quota"}})
    with pytest.raises(ProviderError, match="quota is spent: You ran out"):
        ask(model_of(server, Answer(body.encode(), 429)))
    assert len(server.asked) == 1


@BOTH
def test_a_refused_key_is_the_users_and_masked(server: Server, verb: Callable[..., str]) -> None:
    model = model_of(server, refused(401, f"Incorrect API key provided: {KEY}"))
    with pytest.raises(ModelError, match="Check the key in OPENAI_API_KEY") as caught:
        verb(model)
    assert KEY not in str(caught.value)
    assert "***" in str(caught.value)
    assert caught.value.__suppress_context__
    assert len(server.asked) == 1


@BOTH
def test_calls_one_after_the_other_share_a_connection(
    server: Server, verb: Callable[..., str]
) -> None:
    answer = streamed(event("yes"), event(None, "stop"))
    model = model_of(server, answer if verb is ask_streaming else said("yes"))
    assert [verb(model) for _ in range(3)] == ["yes"] * 3
    assert verb(model, temperature=0.5) == "yes"
    assert len(server.asked) == 4
    assert len(set(server.callers)) == 1


def test_a_body_that_does_not_end_after_the_last_event_costs_its_connection_alone(
    server: Server,
) -> None:
    endless = streamed(event("yes"), event(None, "stop"), cut=True)
    endless.holds = True
    model = model_of(server, endless, timeout_s=20.0)
    assert [ask_streaming(model) for _ in range(2)] == ["yes"] * 2
    assert len(set(server.callers)) == 2


def test_a_stream_that_is_left_in_its_middle_is_not_read_on(server: Server) -> None:
    started = streamed(*[event(f"word {n} ") for n in range(2000)], done=False, cut=True)
    started.holds = True  # the rest of the body never comes
    model = model_of(server, started, timeout_s=20.0)
    with contextlib.closing(model.stream("hi")) as pieces:  # type: ignore[type-var]
        assert next(iter(pieces)).text == "word 0 "
    server.answers = [streamed(event("yes"), event(None, "stop"))]
    assert ask_streaming(model) == "yes"
    assert len(set(server.callers)) == 2


@BOTH
def test_an_unknown_model_is_the_users(server: Server, verb: Callable[..., str]) -> None:
    model = model_of(server, refused(404, "model not found"))
    with pytest.raises(ModelError, match=r'has no model "m" \(404\): model not found'):
        verb(model)


def test_a_refused_setting_is_the_users(server: Server) -> None:
    with pytest.raises(ModelError, match=r"refused the request \(400\): temperature"):
        ask(model_of(server, refused(400, "temperature too high")))


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("too long", "context_length_exceeded"),
        ("This model's maximum context length is 4096 tokens.", None),
        ("the request exceeds the available context size", 400),
    ],
)
def test_a_prompt_that_is_too_long_is_an_overflow(
    server: Server, message: str, code: str | int | None
) -> None:
    body = {"error": {"message": message, "code": code}}
    with pytest.raises(ContextOverflow, match=message):
        ask(model_of(server, Answer(json.dumps(body).encode(), 400)))


@BOTH
def test_a_silent_server_is_tried_once_more(server: Server, verb: Callable[..., str]) -> None:
    model = model_of(server, Answer(delay_s=1.0), timeout_s=0.2)
    with pytest.raises(ProviderError, match=r"said nothing for 0\.2 s\.\nTried 2 times"):
        verb(model)


def test_a_server_that_is_not_there_is_the_providers(server: Server) -> None:
    model = model_of(server, said("never"))
    server.shutdown()
    server.server_close()
    with pytest.raises(ProviderError, match="cannot be reached"):
        ask(model)


def test_an_answer_that_breaks_off_is_reported_and_what_came_is_kept(server: Server) -> None:
    for answer in (
        streamed(event("Half an "), done=False),
        streamed(event("Half an "), done=False, cut=True),
    ):
        server.asked.clear()
        pieces: list[str] = []
        stream = model_of(server, answer).stream("hi")
        with pytest.raises(ProviderError, match="broke off after 8 characters"):
            pieces.extend(str(chunk.text) for chunk in stream)
        assert "".join(pieces) == "Half an "
        assert len(server.asked) == 1


def test_a_stream_that_breaks_off_before_its_first_word_starts_again(server: Server) -> None:
    broken = streamed(event(""), done=False)
    model = model_of(server, broken, streamed(event("Hello."), event(None, "stop")))
    chunks = list(model.stream("hi"))
    assert "".join(str(c.text) for c in chunks) == "Hello."


def test_a_stream_of_empty_chunks_is_no_answer(server: Server) -> None:
    model = model_of(server, streamed(*[event("")] * 5, event(None, "stop")))
    with pytest.raises(ProviderError, match="said nothing and ended with stop"):
        ask_streaming(model)


def test_an_empty_stream_is_no_answer(server: Server) -> None:
    with pytest.raises(ProviderError, match="ended before the answer did"):
        ask_streaming(model_of(server, streamed()))


@BOTH
def test_tokens_spent_before_the_first_word_are_explained(
    server: Server, verb: Callable[..., str]
) -> None:
    spent = streamed(event(None, "length")) if verb is ask_streaming else said("", "length")
    with pytest.raises(ProviderError, match="max_new_tokens"):
        verb(model_of(server, spent))


@BOTH
def test_an_answer_that_begins_with_a_stop_text_is_empty(
    server: Server, verb: Callable[..., str]
) -> None:
    empty = streamed(event(None, "stop")) if verb is ask_streaming else said("")
    assert verb(model_of(server, empty), stop=["\n"]) == ""


def test_invalid_utf8_is_the_providers(server: Server) -> None:
    broken = b'data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}\n\n'
    with pytest.raises(ProviderError, match=r"no answer|broke off"):
        ask_streaming(model_of(server, streamed(broken)))
    with pytest.raises(ProviderError, match="no answer"):
        ask(model_of(server, Answer(b'{"choices": "\xff\xfe')))


@BOTH
def test_an_error_in_a_200_is_the_providers(server: Server, verb: Callable[..., str]) -> None:
    body = json.dumps({"error": {"message": "overloaded"}}).encode()
    wrong = streamed(b"data: " + body + b"\n\n") if verb is ask_streaming else Answer(body)
    with pytest.raises(ProviderError, match="overloaded"):
        verb(model_of(server, wrong))


def test_a_web_page_is_no_answer(server: Server) -> None:
    page = Answer(b"<html>Welcome</html>", headers={"Content-Type": "text/html"})
    with pytest.raises(ProviderError, match="no answer"):
        ask(model_of(server, page))


def test_a_stopped_stream_closes_its_connection(server: Server) -> None:
    model = model_of(server, streamed(event("a"), event("b"), event(None, "stop")))
    stream = model.stream("hi")
    assert next(stream).text == "a"
    stream.close()  # type: ignore[attr-defined]
    assert ask_streaming(model) == "ab"


def test_a_missing_key_is_named_before_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "  "):
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        if value is not None:
            monkeypatch.setenv("OPENAI_API_KEY", value)
        with pytest.raises(MissingKey, match="variable OPENAI_API_KEY") as caught:
            load_model("openai:gpt-4o-mini")
        assert caught.value.exit_status == 2


def test_a_key_that_cannot_be_one_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "“sk-123”")
    with pytest.raises(ModelError, match="OPENAI_API_KEY cannot be a key") as caught:
        load_model("openai:gpt-4o-mini")
    assert "sk-123" not in str(caught.value)


def test_a_server_of_ones_own_needs_no_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    assert ask(model_of(server, said("Hello."))) == "Hello."
    assert server.keys == ["Bearer none"]


def test_outer_spaces_of_a_key_are_ignored(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    ask(model_of(server, said("Hello.")))
    assert server.keys == [f"Bearer {KEY}"]


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r'pip install "promptbot\[openai\]"'):
        load_model("openai:gpt-4o-mini")
    with pytest.raises(ModelError, match='pip install "langchain-anthropic"'):
        load_model("anthropic:claude-sonnet-4-5")


def test_a_remote_model_is_a_frozen_model_that_cannot_score(server: Server) -> None:
    model = model_of(server, said("Hello."))
    assert isinstance(model, FrozenModel)
    assert model.digest() == model.revision == model.spec == f"openai:m@{server.url}"
    assert (model.can_score, model.context_tokens) == (False, None)
    with pytest.raises(CannotScore):
        model.score([Message("user", "hi")], ["a", "b"])
    with pytest.raises(CannotScore):
        model.loglikelihood("hello")
    assert server.asked == []


def test_a_known_models_context_is_known(server: Server) -> None:
    model = load_model("openai:gpt-4o-mini")
    assert model.context_tokens == 128_000


def test_a_host_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unknown(host: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(str(host))
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ModelError, match=r"no server of this name: nowhere\.invalid"):
        ask(RemoteChatModel(spec="openai:m@http://nowhere.invalid/v1"))
    assert len(asked) == 1


def test_counting_is_an_estimate_that_sends_nothing(server: Server) -> None:
    model = model_of(server, said("never"))
    assert model.count_tokens([Message("user", "a" * 41), Message("user", "你好")]) == (
        (4 + 11) + (4 + 3)
    )
    assert server.asked == []


def test_the_model_does_not_show_its_key(server: Server) -> None:
    model = model_of(server, said("Hello."))
    assert KEY not in repr(model) + str(model.model_dump()) + str(model.asdict())


def test_keys_are_masked_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "topsecretvalue")
    text = remote_faults.mask("a topsecretvalue, sk-proj-12345678, Bearer abcdef.ghi", ["SOME_KEY"])
    assert text == "a ***, sk-***, Bearer ***"


def test_ollama_gets_its_own_names_of_the_settings(server: Server) -> None:
    pytest.importorskip("langchain_ollama")
    lines = [
        {"model": "m", "message": {"role": "assistant", "content": "Hello."}, "done": False},
        {
            "model": "m",
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "length",
            "prompt_eval_count": 3,
            "eval_count": 2,
        },
    ]
    server.answers = [Answer(b"".join(json.dumps(line).encode() + b"\n" for line in lines))]
    model = RemoteChatModel(spec=f"ollama:m@{server.url.removesuffix('/v1')}", timeout_s=5)
    settings = {"temperature": 0.0, "top_p": 1.0, "top_k": 5, "repetition_penalty": 1.2}
    answer = model.invoke("hi", max_new_tokens=8, seed=4, stop=["\n"], **settings)
    assert answer.text == "Hello."
    assert answer.response_metadata["finish_reason"] == "length"
    assert server.asked[0]["options"] == {
        "temperature": 0.0,
        "top_k": 5,
        "repeat_penalty": 1.2,
        "num_predict": 8,
        "seed": 4,
        "stop": ["\n"],
    }


@BOTH
def test_an_unknown_model_of_ollama_is_the_users(server: Server, verb: Callable[..., str]) -> None:
    pytest.importorskip("langchain_ollama")
    server.answers = [Answer(b'{"error": "model not found, try pulling it first"}', 404)]
    model = RemoteChatModel(spec=f"ollama:m@{server.url.removesuffix('/v1')}", timeout_s=5)
    with pytest.raises(ModelError, match=r'no model "m" \(404\): model not found'):
        verb(model)


def test_ollama_that_is_not_running_is_the_providers(server: Server) -> None:
    pytest.importorskip("langchain_ollama")
    server.shutdown()
    server.server_close()
    address = server.url.removesuffix("/v1")
    model = RemoteChatModel(spec=f"ollama:m@{address}", max_retries=0)
    with pytest.raises(ProviderError, match="cannot be reached"):
        ask(model)
