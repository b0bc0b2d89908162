"""Answers that are kept: what is the same call, what is not, and what a broken file costs."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from promptbot.interfaces import ChoosesOptions, FollowsSchemas
from promptbot.models import call_cache as module
from promptbot.models.call_cache import (
    CachedModel,
    CallCache,
    default_cache,
    noting_replays,
    with_cache,
)
from promptbot.models.messages import to_langchain
from promptbot.models.scripted import ScriptedModel
from promptbot.types import Choice, Completion, Message

HELLO = [Message("system", "Be kind."), Message("user", "Hello")]


@pytest.fixture
def cache(tmp_path: Path) -> CallCache:
    return CallCache(tmp_path / "answers.sqlite")


def counting(*answers: Any) -> ScriptedModel:
    """Return a model that answers every call with the next text, so that a repeat would show."""
    return ScriptedModel(answers=answers or [f"answer {n}" for n in range(50)])


def said(model: CachedModel, messages: list[Message] = HELLO, **settings: Any) -> str:
    return str(model.invoke(to_langchain(messages), **settings).text)


def test_an_equal_call_is_answered_once(cache: CallCache) -> None:
    scripted = counting()
    model = CachedModel(scripted, cache)
    first = model.invoke(to_langchain(HELLO), temperature=0.0, seed=1)
    again = CachedModel(scripted, cache).invoke(to_langchain(HELLO), temperature=0.0, seed=1)
    assert len(scripted.prompts) == 1
    assert (again.text, again.usage_metadata) == (first.text, first.usage_metadata)
    assert again.response_metadata["finish_reason"] == "stop"


@pytest.mark.parametrize(
    "settings",
    [{"temperature": 0.1}, {"seed": 2}, {"max_new_tokens": 7}, {"stop": ["x"]}, {"top_p": 0.5}],
)
def test_another_setting_is_another_call(cache: CallCache, settings: dict[str, Any]) -> None:
    model = CachedModel(counting(), cache)
    base: dict[str, Any] = {"temperature": 0.0, "seed": 1, "max_new_tokens": 80, "stop": []}
    assert said(model, **base) == "answer 0"
    assert said(model, **(base | settings)) == "answer 1"
    assert said(model, **base) == "answer 0"


def test_another_message_role_repeat_or_model_is_another_call(cache: CallCache) -> None:
    model = CachedModel(counting(), cache)
    assert said(model) == "answer 0"
    assert said(model, [Message("system", "Be kind. "), Message("user", "Hello")]) == "answer 1"
    assert said(model, [Message("user", "Be kind."), Message("user", "Hello")]) == "answer 2"
    assert said(CachedModel(counting(), cache, repeat=1)) == "answer 0"
    assert said(CachedModel(counting("other script"), cache)) == "other script"


def test_scores_come_back_to_the_last_bit(cache: CallCache) -> None:
    scores = {"yes": -0.1234567890123456, "no": -2.000000000000001}
    scripted = ScriptedModel(answers=[{"match": "Hello", "scores": scores}])
    model = CachedModel(scripted, cache)
    first = model.score(HELLO, ["yes", "no"])
    assert model.score(HELLO, ["yes", "no"]) == first
    assert len(scripted.prompts) == 1
    model.score(HELLO, ["no", "yes"])
    model.score(HELLO, ["yes", "no"], end_of_turn=False)
    assert len(scripted.prompts) == 3


def test_replays_are_counted_with_the_seconds_of_the_first_time(cache: CallCache) -> None:
    model = CachedModel(counting(), cache)
    with noting_replays() as first:
        said(model)
    with noting_replays() as second:
        said(model)
        said(model)
    assert (first.n_hits, first.n_misses) == (0, 1)
    assert (second.n_hits, second.n_misses) == (2, 0)
    assert second.seconds > 0
    assert second.first_token_s is not None


def test_an_answer_that_broke_off_is_not_kept(cache: CallCache) -> None:
    model = CachedModel(counting("a b c", "whole"), cache)
    stream = model.stream(to_langchain(HELLO))
    assert next(stream).text == "a"
    stream.close()  # type: ignore[attr-defined]
    assert said(model) == "whole"


def test_many_threads_may_ask(cache: CallCache) -> None:
    model = CachedModel(ScriptedModel(answers=[{"match": "", "text": "same"}]), cache)
    found: list[str] = []

    def work(number: int) -> None:
        found.extend(said(model, [Message("user", f"{number % 5}")]) for _ in range(20))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["same"] * 160
    assert cache.problem is None


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, None])
def test_a_file_that_cannot_be_used_breaks_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "answers.sqlite"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    cache = CallCache(path)
    model = CachedModel(counting(), cache)
    assert [said(model), said(model)] == ["answer 0", "answer 1"]
    assert cache.problem is not None
    assert str(path) in cache.problem


def test_a_file_that_grew_too_large_loses_its_older_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "answers.sqlite"
    cache = CallCache(path)
    for number in range(100):
        cache.put(str(number), {"text": "x" * 1000})
    cache.close()
    monkeypatch.setattr(module, "MAX_BYTES", 50_000)
    cache = CallCache(path)
    assert cache.get("10") is None
    assert cache.get("90") == {"text": "x" * 1000}


def test_the_cache_lies_in_the_users_cache_folder(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PROMPTBOT_CACHE", str(tmp_path / "mine"))
    cache = default_cache()
    cache.put("a", {"text": "b"})
    cache.close()
    file = tmp_path / "mine" / "answers" / "answers.sqlite"
    assert file.stat().st_mode & 0o077 == 0


class Follower(ScriptedModel):
    """A model that can be kept to any schema but one."""

    def cannot_follow(self, json_schema: Any) -> str | None:
        return None if json_schema else "it is empty"


class Chooser(ScriptedModel):
    """A model that chooses the next of its answers."""

    def choose(self, messages: Any, options: Any, config: Any = None, **settings: Any) -> Choice:
        text = str(self.invoke(to_langchain(messages)).text)
        return Choice("logprobs", text, Completion(text, 3, 0, 1), {text: -0.1, "other": -2.0})


def test_a_cached_model_can_do_what_the_model_can(cache: CallCache) -> None:
    plain, follower, chooser = (
        with_cache(kind(answers=["a", "b"]), cache) for kind in (ScriptedModel, Follower, Chooser)
    )
    for model, follows, chooses in (
        (plain, False, False),
        (follower, True, False),
        (chooser, False, True),
    ):
        assert isinstance(model, FollowsSchemas) == follows
        assert isinstance(model, ChoosesOptions) == chooses
    assert isinstance(follower, FollowsSchemas)
    assert follower.cannot_follow({}) == "it is empty"
    assert follower.cannot_follow({"type": "object"}) is None


def test_an_equal_choice_is_made_once(cache: CallCache) -> None:
    def choose(*options: str, **settings: Any) -> Choice:
        model = with_cache(scripted, cache)
        assert isinstance(model, ChoosesOptions)
        return model.choose(HELLO, options, **settings)

    scripted = Chooser(answers=["a", "b", "c"])
    first = choose("a", "other", temperature=0.0)
    assert choose("a", "other", temperature=0.0) == first
    assert (first.text, len(scripted.prompts)) == ("a", 1)
    assert choose("a", "other", temperature=1.0).text == "b"
    assert choose("a", "others", temperature=0.0).text == "c"
