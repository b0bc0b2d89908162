"""Commands that change what answers: variant, model, settings, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptbot.cli.correcting import keep
from promptbot.cli.style import QUIET
from promptbot.errors import InputError

if TYPE_CHECKING:
    from promptbot.cli.terminal import Talk


def change_variant(talk: Talk, argument: str) -> None:
    """List the variants, or go on with another one in the same conversation."""
    if not argument:
        names = [
            f"{name} (now)" if name == talk.bot.variant else name for name in variants(talk, "")
        ]
        talk.tell(f"Variants: {', '.join(names)}.")
        return
    talk.live.change_variant(argument)
    talk.session.use(bot=talk.bot)
    talk.tell(f"From here on: {argument}.")


def variants(talk: Talk, typed: str) -> list[str]:
    """Return the names of the bot's variants."""
    from promptbot.bot.folder import DEFAULT_VARIANT, variant_files

    return list(dict.fromkeys([DEFAULT_VARIANT, *variant_files(talk.bot.folder)]))


def change_model(talk: Talk, argument: str) -> None:
    """Name the model that answers, or go on with another one in the same conversation."""
    session = talk.session
    if not argument:
        talk.tell(f"Model: {session.chain.model.spec}.")
        return
    session.use(model=talk.load_model(argument))
    talk.tell(f"From here on: {argument}.")


def models(talk: Talk, typed: str) -> list[str]:
    """Return the specs that are known here: the bot's own, those used, and how others begin."""
    from promptbot.models.providers import PROVIDERS

    begun = ["hf:", *(f"{name}:" for name in PROVIDERS)] if typed else ["hf:", "openai:", "ollama:"]
    return list(dict.fromkeys(["embedded", talk.bot.spec.model, *talk.models, *begun]))


def change_setting(talk: Talk, argument: str) -> None:
    """List what this conversation set, show one setting, or change it."""
    from promptbot.bot.changes import flat
    from promptbot.bot.live import DEFAULT

    key, _, value = argument.partition(" ")
    if not key:
        keys = [name for name, _ in flat(talk.live.settings)]
        listed = ", ".join(f"{key} {_value(talk, key)}" for key in keys) or "nothing"
        talk.tell(f"Set for this conversation: {listed}. As in: /set decoding.temperature 0.7")
        return
    if key == "model":
        change_model(talk, value)
        return
    if not value and key != DEFAULT:
        talk.tell(f"{key} is {_value(talk, key)}.")
        return
    if key == DEFAULT:
        changes = talk.live.reset_settings()
    else:
        changes = talk.live.change_setting(key, value.strip())
    talk.session.use(bot=talk.bot)
    talk.tell(f"From here on: {', '.join(changes)}." if changes else "That is how it was.")


def _value(talk: Talk, key: str) -> str:
    """Return the value of a setting as bot.yaml would say it.

    Raises:
        InputError: There is no such setting.
    """
    import json

    from promptbot.bot.spec import setting_names
    from promptbot.errors import known_words

    value = talk.bot.spec.model_dump(mode="json")
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            known = [*setting_names(), *(f"vars.{name}" for name in talk.bot.spec.vars)]
            raise InputError(
                f'there is no setting "{key}".', place="/set", hint=known_words("Known", key, known)
            )
        value = value[name]
    return json.dumps(value, ensure_ascii=False)


def settings(talk: Talk, typed: str) -> list[str]:
    """Return the settings, or with a setting its values where they are few."""
    from promptbot.bot.live import DEFAULT
    from promptbot.bot.spec import setting_names

    known = setting_names() | {f"vars.{name}": () for name in talk.bot.spec.vars}
    key, space, _ = typed.partition(" ")
    if space:
        return [f"{key} {word}" for word in (*known.get(key, ()), DEFAULT)]
    return [*known, DEFAULT]


def add_note(talk: Talk, argument: str) -> None:
    """Add a note to the knowledge of this conversation, and offer it to the bot's in review."""
    from promptbot.corrections import Correction

    question, bar, answer = (part.strip() for part in talk.hear(argument).partition("|"))
    if not (question and bar and answer):
        raise InputError(
            "a note has a question and an answer.",
            place="/note",
            hint="As in: /note When are you open? | From 9 to 5.",
        )
    talk.live.add_note(question, answer)
    talk.session.use(bot=talk.bot)
    keep(
        talk,
        Correction("note", question, answer, session=talk.session.name, variant=talk.bot.variant),
        "Noted for this conversation",
    )


def tell_changes(talk: Talk) -> None:
    """Use what was saved in the bot's folder since the last turn, and say what it is.

    What is broken changes nothing: it is shown, and the last good state goes on.
    """
    from rich.text import Text

    from promptbot.cli.style import error_text
    from promptbot.errors import UserError

    try:
        changes = talk.live.refresh()
    except UserError as error:
        told = error_text(error)
        talk.show(told.append_text(Text("\nUntil then the last good version answers.", QUIET)))
        return
    if changes:
        talk.tell(f"Changed on disk: {', '.join(changes)}.")
