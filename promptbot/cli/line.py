"""The line at which a message is typed: keys, completion, history, status."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, completion_is_selected, is_searching
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.styles import Style

from promptbot.cli.commands import COMMANDS, is_command
from promptbot.cli.style import ACCENT, SIGN

STYLE = Style.from_dict(
    {
        "sign": f"ansi{ACCENT} bold",
        "bottom-toolbar": "noreverse dim",
        "completion-menu": "bg:default",
        "completion-menu.completion": "bg:default fg:default",
        "completion-menu.completion.current": f"bg:default fg:ansi{ACCENT} bold noreverse",
        "completion-menu.meta.completion": "bg:default fg:default dim",
        "completion-menu.meta.completion.current": "bg:default fg:default noreverse",
        "scrollbar.background": "bg:default",
        "scrollbar.button": "bg:default",
    }
)


def make_line(
    status: Callable[[int], str],
    complete: Callable[[str, str], Iterable[str]],
    clean: Callable[[str], str],
) -> PromptSession[str]:
    """Return the line at which messages are typed.

    Enter sends, Alt-Enter begins a new line, and a pasted block stays one message. Ctrl-C clears
    what is written; where nothing is, it raises KeyboardInterrupt. Ctrl-D raises EOFError.

    Args:
        status: The line below, given the width of the window.
        complete: What may follow a command, given the command and what is typed after it.
        clean: What may be kept of a text in the file of what was typed before.
    """
    session: PromptSession[str] = PromptSession(
        [("class:sign", SIGN)],
        multiline=True,
        prompt_continuation=" " * len(SIGN),
        key_bindings=_keys(),
        completer=_SlashCompleter(complete),
        complete_while_typing=Condition(lambda: is_command(session.default_buffer.text)),
        reserve_space_for_menu=9,
        history=_history(clean),
        enable_history_search=False,
        style=STYLE,
        mouse_support=False,
        enable_suspend=True,
        enable_open_in_editor=True,
    )

    def toolbar() -> StyleAndTextTuples:
        return [("", status(session.app.output.get_size().columns))]

    session.bottom_toolbar = toolbar
    return session


def ask(sign: str, text: str = "") -> str | None:
    """Return one line that the user types, or None where they press Ctrl-C or Ctrl-D.

    Args:
        sign: What stands in front of it.
        text: What stands on it already.
    """
    keys = _keys()

    @keys.add("c-c", filter=~is_searching, eager=True)
    def give_up(event: KeyPressEvent) -> None:
        event.app.exit(exception=KeyboardInterrupt())

    session: PromptSession[str] = PromptSession(
        [("class:sign", sign)],
        multiline=True,
        prompt_continuation=" " * len(SIGN),
        key_bindings=keys,
        style=STYLE,
        enable_suspend=True,
    )
    try:
        return session.prompt(default=text)
    except (KeyboardInterrupt, EOFError):
        return None


def _keys() -> KeyBindings:
    keys = KeyBindings()

    # While Ctrl-R searches, prompt_toolkit's own keys hold: Enter takes it over, Ctrl-C gives up.
    @keys.add("enter", filter=~completion_is_selected & ~is_searching)
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("enter", filter=completion_is_selected)
    def take_completion(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c", filter=~is_searching)
    def clear_or_interrupt(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    # Ctrl-C that is no key, as it comes while a line is begun or has just been sent: there it must
    # not end what has ended, as prompt_toolkit's own would.
    @keys.add(Keys.SIGINT)
    def interrupt(event: KeyPressEvent) -> None:
        if event.app.future and not event.app.future.done():
            clear_or_interrupt(event)

    return keys


class _SlashCompleter(Completer):
    """Completes commands and what may follow them: variants, settings, sessions, files."""

    def __init__(self, complete: Callable[[str, str], Iterable[str]]) -> None:
        self._complete = complete

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        typed = document.text_before_cursor
        if not is_command(typed) or "\n" in document.text:
            return
        name, space, argument = typed.partition(" ")
        if not space:
            for command in COMMANDS:
                if command.startswith(name):
                    help_line = COMMANDS[command].help
                    yield Completion(command, start_position=-len(name), display_meta=help_line)
        else:
            for word in self._complete(name.lower(), argument):
                if word.startswith(argument):
                    yield Completion(word, start_position=-len(argument))


class _LenientHistory(FileHistory):
    """What was typed before, kept in a file where that is possible.

    Args:
        filename: The file.
        clean: Returns what may be kept of a text.
    """

    def __init__(self, filename: str, clean: Callable[[str], str]) -> None:
        super().__init__(filename)
        self.clean = clean

    def load_history_strings(self) -> Iterable[str]:
        with suppress(OSError):
            yield from super().load_history_strings()

    def store_string(self, string: str) -> None:
        with suppress(OSError):
            super().store_string(self.clean(string))


def _history(clean: Callable[[str], str]) -> _LenientHistory:
    from platformdirs import user_data_dir

    file = Path(user_data_dir("promptbot", appauthor=False)) / "history"
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
    return _LenientHistory(str(file), clean)
