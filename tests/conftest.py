"""Fixtures that every test may use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import hypothesis
import pytest

# A test on a busy machine is not wrong because it is slow.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

BOT_YAML = """\
name: shop
template: system.j2
examples: {file: examples.jsonl, selector: fixed, k: 2, order: file}
knowledge: {file: knowledge.jsonl, k: 2}
guard: {fallback: I will ask.}
vars: {company: Acme}
"""

SYSTEM_J2 = """\
You work at {{ company }}. If no note fits, say: {{ fallback }}
{% for note in knowledge %}

Q: {{ note.question }}
A: {{ note.answer }}
{% endfor %}
"""

EXAMPLES = """\
{"input": "Hello", "output": "Hi there!"}
{"input": "Bye", "output": "Goodbye!"}
{"input": "Thank you", "output": "You are welcome!"}
"""

KNOWLEDGE = """\
{"question": "When are you open?", "answer": "From 9 to 5."}
{"question": "Where are you?", "answer": "In Mill Street."}
{"question": "What does delivery cost?", "answer": "Four euros."}
"""

CLASSIFY_YAML = """\
name: sorter
task: classify
examples: {file: examples.jsonl, selector: fixed, k: 2, order: file}
labels:
  card_lost: [lost card, missing card]
  balance: [account balance]
"""

CLASSIFY_EXAMPLES = """\
{"input": "I lost my card", "label": "card_lost"}
{"input": "How much money do I have?", "label": "balance"}
"""

BotMaker = Callable[..., Path]


def write_rows(path: Path, texts: dict[str, list[str]]) -> None:
    """Write labelled texts as samples or as a pool, in the order given."""
    rows = [{"input": text, "label": label} for label, some in texts.items() for text in some]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(autouse=True)
def private_folders(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep every test out of the user's own data and cache folders, and away from hubs."""
    home = tmp_path_factory.mktemp("home")
    for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "PROMPTBOT_CACHE"):
        monkeypatch.setenv(name, str(home / name.lower()))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def make_bot(tmp_path: Path) -> BotMaker:
    """Write a bot's folder; keyword arguments replace or, with None, leave out its files."""

    def make(name: str = "shop", files: Mapping[str, str | bytes | None] | None = None) -> Path:
        folder = tmp_path / name
        contents: dict[str, str | bytes | None] = {
            "bot.yaml": BOT_YAML,
            "system.j2": SYSTEM_J2,
            "examples.jsonl": EXAMPLES,
            "knowledge.jsonl": KNOWLEDGE,
            "variants/zero_shot.yaml": "examples: {k: 0}\n",
            **(files or {}),
        }
        for file, text in contents.items():
            if text is None:
                continue
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        return folder

    return make


@pytest.fixture
def make_classifier(make_bot: BotMaker) -> BotMaker:
    """Write the folder of a classify bot."""

    def make(name: str = "sorter", files: Mapping[str, str | bytes | None] | None = None) -> Path:
        return make_bot(
            name,
            {
                "bot.yaml": CLASSIFY_YAML,
                "system.j2": "Classify the message.\n",
                "examples.jsonl": CLASSIFY_EXAMPLES,
                "knowledge.jsonl": None,
                **(files or {}),
            },
        )

    return make


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint in the embedded model's layout, with its graph and card; read only."""
    import json

    from promptbot.models.export import export_onnx
    from promptbot.models.weights import checksums
    from tests.models.checkpoints import embedded_like

    folder = embedded_like(tmp_path_factory.mktemp("tiny") / "model")
    export_onnx(folder, check=False)
    names = [path.name for path in folder.iterdir()]
    (folder / "card.json").write_text(json.dumps({"files": checksums(folder, names)}))
    return folder
