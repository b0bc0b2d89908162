"""A new bot's folder, complete and working, for its author to change."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from promptbot.bot.folder import load_bot
from promptbot.errors import InputError, UserError

_SETTINGS = """\
name: {name}
description: Say here in one sentence what the bot does.
language: en                  # templates see it as {{{{ language }}}}
task: {task:<22}  # chat | classify
model: embedded               # embedded, a folder, hf:owner/name, openai:NAME, ollama:NAME, ...
encoder: embedded             # measures which examples and notes are similar to a message
template: system.j2
"""

_CHAT_SETTINGS = """\
examples:
  file: examples.jsonl
  selector: nearest           # fixed | random | nearest
  k: 2                        # how many the prompt shows; 0 is zero-shot
  order: nearest_last         # nearest_last | nearest_first | random | file
knowledge:
  file: knowledge.jsonl       # JSONL, CSV or Markdown (split at headings), or a folder of them
  k: 1                        # the nearest; show a model larger than the embedded one three
  min_similarity: 0.35        # a note that is farther is not shown
memory:
  kind: window                # buffer: everything; window: the newest turns that fit
  max_tokens: 400
decoding:
  temperature: 0.0            # 0 takes the likeliest word
  max_new_tokens: 80
output: text                  # or {format: json, json_schema: answer.json}
guard:
  fallback: I am sorry, I do not know that. I will ask a colleague.
  redact: []                  # [email, phone, card, iban, national_id, ip]; see docs/guards.md
vars:                         # whatever the templates need
  company: Example Ltd
  sure: 0.4                   # a nearer note is not doubted; give a larger model 1
"""

_CHAT_TEMPLATE = """\
You are the assistant of {{ company }}. Be friendly and brief.
{% if knowledge and (knowledge[-1].similarity or 0) >= sure %}
Answer with the notes.
{% else %}
Answer with the notes. If no note fits, say: {{ fallback }}
{% endif %}
{% for note in knowledge %}

Q: {{ note.question }}
A: {{ note.answer }}
{% endfor %}
"""

_CHAT_EXAMPLES = """\
{"input": "Hello!", "output": "Hello! How can I help you?"}
{"input": "Good morning", "output": "Good morning! What can I do for you?"}
{"input": "Thanks a lot", "output": "You are welcome!"}
{"input": "Bye", "output": "Goodbye, and have a nice day!"}
"""

_KNOWLEDGE = """\
{"question": "When are you open?", "answer": "We are open from Monday to Friday, 9 am to 5 pm."}
{"question": "Where can I find you?", "answer": "You find us at 1 Example Street."}
{"question": "How can I reach a person?", "answer": "Call us on 555 0100 during opening hours."}
"""

_CLASSIFY_SETTINGS = """\
examples:
  file: examples.jsonl
  selector: nearest           # fixed | random | nearest
  k: 4                        # how many the prompt shows; 0 is zero-shot
  order: nearest_last         # nearest_last | nearest_first | random | file
labels:                       # the verbalizer: label: [wording that examples show, other wordings]
  question: [question]
  complaint: [complaint]
  praise: [praise]
verbalizer:
  mode: score                 # score | generate; a model that only writes generates
  score: sum                  # sum | mean_token | mean_byte
ensemble: {kind: none}        # or {kind: permutations, n: 4}: scores averaged over orders
                              # none | permutations | variants | self_consistency
calibration: none             # none | contextual | domain | batch | channel | pmi
"""

_CLASSIFY_TEMPLATE = """\
Classify the message with one label.
"""

_CLASSIFY_EXAMPLES = """\
{"input": "When do you open?", "label": "question"}
{"input": "Do you ship to Norway?", "label": "question"}
{"input": "My parcel arrived broken.", "label": "complaint"}
{"input": "I have been waiting for an answer for a week!", "label": "complaint"}
{"input": "Great service, thank you!", "label": "praise"}
{"input": "I love the new design.", "label": "praise"}
"""

_ZERO_SHOT = """\
# A variant names only what differs from bot.yaml.
description: No examples. Shows what the instructions alone achieve.
examples: {k: 0}
"""


def create_bot(name: str, parent: Path, task: Literal["chat", "classify"] = "chat") -> Path:
    """Create the folder of a new bot that works as it stands, and return it.

    The folder appears complete or not at all.

    Raises:
        InputError: The name cannot be a bot's, or something of this name exists already.
    """
    chat = task == "chat"
    settings = _SETTINGS.format(name=name, task=task)
    files = {
        "bot.yaml": settings + (_CHAT_SETTINGS if chat else _CLASSIFY_SETTINGS),
        "system.j2": _CHAT_TEMPLATE if chat else _CLASSIFY_TEMPLATE,
        "examples.jsonl": _CHAT_EXAMPLES if chat else _CLASSIFY_EXAMPLES,
        "variants/zero_shot.yaml": _ZERO_SHOT,
    }
    if chat:
        files["knowledge.jsonl"] = _KNOWLEDGE
    return write_bot(name, parent, files)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"\w[\w.-]{0,63}", name):
        raise InputError(
            f'"{name}" cannot be the name of a bot.',
            expected="Expected at most 64 letters, digits, underscores, dots and hyphens.",
            hint="Choose a name such as help_desk.",
        )


def write_bot(name: str, parent: Path, files: Mapping[str, str]) -> Path:
    """Write the files of a bot and return its folder, which appears complete or not at all.

    Raises:
        InputError: The name cannot be a bot's, something of this name exists already, or the
            folder cannot be written.
        UserError: The files do not make a bot.
    """
    _check_name(name)
    folder = parent / name
    if folder.exists():
        raise InputError(
            "there is already something of this name.",
            place=str(folder),
            hint="Choose another name, or remove it first.",
        )
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}-") as temporary:
            draft = Path(temporary) / name
            for file, text in files.items():
                path = draft / file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", newline="\n")
            try:
                load_bot(draft)
            except UserError as error:  # of a place that is about to vanish
                raise error.located(str(error.place).replace(str(draft), str(folder))) from None
            draft.rename(folder)
    except OSError as error:
        raise InputError(
            f"the folder cannot be written ({error.strerror}).",
            place=str(folder),
            hint="Run the command where you may write, or free some space.",
        ) from None
    return folder
