"""A conversation as a document: JSON for programs, Markdown and HTML for people."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from promptbot.store import StoredMessage

Format = Literal["json", "md", "html"]
"""What a transcript can be written as; also the ending of its file."""

FORMATS: tuple[Format, ...] = get_args(Format)

STOPPED = "(stopped here)"
"""What stands behind a reply that was interrupted."""

_PAGE = """\
<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; }}
header, h2, time, small {{ opacity: .7; }}
h2 {{ font-size: .85rem; margin: 1.5rem 0 .25rem; }}
h2 time {{ font-weight: normal; margin-left: .5rem; }}
p {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }}
.user p {{ border-inline-start: 3px solid #0891b2; padding-inline-start: .75rem; }}
</style>
</head>
<body>
<h1 dir="auto">{title}</h1>
<header>{about}</header>
{messages}
</body>
</html>
"""


def render_transcript(name: str, bot: str, messages: Sequence[StoredMessage], form: Format) -> str:
    """Return a conversation as a document that ends with a line break.

    Texts stay what was said: nothing in them becomes a tag of the HTML page.

    Args:
        name: The session's name.
        bot: The bot it was held with.
        messages: What was said, oldest first.
        form: Which kind of document.
    """
    if form == "json":
        content = {"session": name, "bot": bot, "messages": [_as_json(m) for m in messages]}
        return json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    render = _markdown if form == "md" else _html
    return render(name, bot, messages)


def _as_json(message: StoredMessage) -> Mapping[str, object]:
    return {
        "role": message.role,
        "content": message.content,
        "said": message.said.isoformat(timespec="seconds"),
        "stopped": message.stopped,
    }


def _markdown(name: str, bot: str, messages: Sequence[StoredMessage]) -> str:
    blocks = [f"# {name}", f"With {bot}, {_count(messages)}."]
    for message in messages:
        blocks += [f"**{_speaker(message, bot)}** · {_moment(message)}", message.content]
        if message.stopped:
            blocks.append(f"*{STOPPED}*")
    return "\n\n".join(blocks) + "\n"


def _html(name: str, bot: str, messages: Sequence[StoredMessage]) -> str:
    said = [
        f'<section class="{html.escape(message.role)}">'
        f"<h2>{html.escape(_speaker(message, bot))} <time>{_moment(message)}</time></h2>"
        f'<p dir="auto">{html.escape(message.content)}</p>'
        f"{f'<small>{STOPPED}</small>' if message.stopped else ''}</section>"
        for message in messages
    ]
    about = f"With {html.escape(bot)}, {_count(messages)}."
    return _PAGE.format(title=html.escape(name), about=about, messages="\n".join(said))


def _count(messages: Sequence[StoredMessage]) -> str:
    return f"{len(messages)} message{'' if len(messages) == 1 else 's'}"


def _speaker(message: StoredMessage, bot: str) -> str:
    return {"user": "You", "assistant": bot}.get(message.role, message.role)


def _moment(message: StoredMessage) -> str:
    return f"{message.said:%Y-%m-%d %H:%M} UTC"
