"""What is guessed of an answer, and that guesses change no answer."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from promptbot.models.local import LocalChatModel
from promptbot.models.onnx import OnnxNetwork, load_onnx
from promptbot.models.prompt_lookup import PromptLookup
from promptbot.models.registry import load_model
from promptbot.types import Message

NOTES = (
    "Answer with the notes.\n\nQ: What does delivery cost?\nA: Standard delivery costs 4.90 euros. "
    "From an order value of 50 euros it is free.\n\nQ: Do you have a shop?\nA: Our showroom at 12 "
    "Mill Street is open from Tuesday to Saturday, 10 am to 7 pm."
)
QUESTIONS = ("How much is delivery?", "Can I visit you somewhere?", "Do you sell horses?", "hi")


def test_the_text_after_the_last_place_with_the_same_tokens_is_guessed() -> None:
    lookup = PromptLookup([1, 2, 3, 4, 9, 1, 2, 3, 5, 6, 7, 1, 2])
    assert lookup.guess(3) == [3, 5, 6]
    lookup.add(3)
    assert lookup.guess(2) == [5, 6]
    lookup.add(4)
    assert lookup.guess(3) == [9, 1, 2]  # three tokens are surer than the last two
    lookup.add(8)
    assert lookup.guess(3) == []


def test_a_repetition_is_guessed_to_go_on() -> None:
    lookup = PromptLookup([5, 1, 2, 1, 2])
    assert lookup.guess(5) == [1, 2, 1, 2, 1]
    assert PromptLookup([7, 7, 7]).guess(4) == [7, 7, 7, 7]
    assert PromptLookup([]).guess(4) == PromptLookup([3]).guess(4) == []


class Passes:
    """Counts the passes of a network, and the tokens of each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lengths: list[int] = []
        forward = OnnxNetwork.forward

        def counted(network: OnnxNetwork, past: Any, ids: Any, *more: Any) -> Any:
            self.lengths.append(len(ids))
            return forward(network, past, ids, *more)

        monkeypatch.setattr(OnnxNetwork, "forward", counted)


def write(model: LocalChatModel, question: str, **settings: Any) -> tuple[str, int, int]:
    said = model.invoke([("system", NOTES), ("human", question)], **settings)
    usage = said.usage_metadata
    assert usage is not None
    return str(said.content), usage["output_tokens"], usage["input_token_details"]["cache_read"]


SETTINGS: tuple[dict[str, Any], ...] = (
    {"max_new_tokens": 40},
    {"max_new_tokens": 40, "repetition_penalty": 1.3},
    {"max_new_tokens": 40, "temperature": 0.9, "seed": 4},
    {"max_new_tokens": 40, "temperature": 1.5, "top_p": 0.9, "seed": 5},
    {"max_new_tokens": 40, "stop": ["euros"]},
)


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_embedded_model_writes_the_same_in_fewer_passes(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes, answers = Passes(monkeypatch), []
    n_passes = []
    for n in (0, OnnxNetwork.n_ahead):
        monkeypatch.setattr(OnnxNetwork, "n_ahead", n)
        model = load_model("embedded")
        assert isinstance(model, LocalChatModel)
        passes.lengths.clear()
        # Each twice: what was read ahead in vain must not be found in the cache.
        answers.append([write(model, question, **settings) for question in QUESTIONS * 2])
        n_passes.append(len(passes.lengths))
    assert answers[0] == answers[1]
    assert n_passes[1] < n_passes[0]
    if settings == SETTINGS[0]:
        assert n_passes[1] < n_passes[0] / 2


def test_logits_after_guesses_are_those_of_single_tokens(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = [5, 6, 7, 8, 9, 5, 6, 7, 8]
    said = [7, 5, 6, 7, 8, 9, 5, 30, 5, 6, 7, 31, 7, 7, 7, 7, 7, 8]
    rows = []
    for n in (0, 16):
        monkeypatch.setattr(OnnxNetwork, "n_ahead", n)
        writing = load_onnx(tiny_folder, "tiny").engine.start(prompt)
        rows.append([writing.next_logits(token) for token in (None, *said)])
        writing.close()
    np.testing.assert_allclose(rows[1], rows[0], atol=1e-4)


def test_nothing_is_read_beyond_the_context(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_onnx(tiny_folder, "tiny")
    assert model.context_tokens is not None
    n = model.context_tokens - 4
    writing = model.engine.start([7] * n)
    passes = Passes(monkeypatch)
    for token in (None, 7, 7, 7):
        writing.next_logits(token)
    writing.close()
    assert max(passes.lengths[1:]) <= 4
    assert sum(passes.lengths) <= model.context_tokens


def test_threads_compute_at_the_same_time_and_answer_as_alone(
    tiny_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_onnx(tiny_folder, "tiny")
    prompts = [[Message("user", f"{word} card " * 5)] for word in ("lost", "new", "order", "my")]
    alone = [model.score(prompt, ["card", "order"]) for prompt in prompts]
    texts = [model.invoke([("human", p[0].content)], max_new_tokens=9).content for p in prompts]
    model = load_onnx(tiny_folder, "tiny")
    meet, forward = threading.Barrier(2, timeout=30), OnnxNetwork.forward
    met = threading.local()

    def together(network: OnnxNetwork, *given: Any) -> Any:
        if not getattr(met, "done", False):
            met.done = True
            meet.wait()  # passes only where two are in a pass at once
        return forward(network, *given)

    monkeypatch.setattr(OnnxNetwork, "forward", together)
    found: dict[int, Any] = {}

    def ask(first: int) -> None:
        for i in (first, first + 2):
            scores = model.score(prompts[i], ["card", "order"])
            said = model.invoke([("human", prompts[i][0].content)], max_new_tokens=9)
            found[i] = scores, said.content

    threads = [threading.Thread(target=ask, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, (scores, said) in sorted(found.items()):
        assert said == texts[i]
        expected = [score.logprob for score in alone[i]]
        assert [score.logprob for score in scores] == pytest.approx(expected, abs=1e-4)
    assert len(found) == 4
