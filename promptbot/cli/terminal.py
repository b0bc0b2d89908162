"""A conversation at a terminal."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from promptbot.cli.commands import Leave, is_command, run_command
from promptbot.cli.markdown import INDENT, MarkdownStream, ReplyMarkdown
from promptbot.cli.style import (
    ACCENT,
    NOT_KEPT,
    QUIET,
    error_text,
    make_console,
    shorten,
    visible,
)
from promptbot.errors import INTERRUPTED, PromptbotError, known_words

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from promptbot.bot.folder import Bot
    from promptbot.errors import StoreError
    from promptbot.session import Session
    from promptbot.store import SafeHistory, StoredSession
    from promptbot.types import Reply


class Talk:
    """A conversation at a terminal: what is typed, what is shown, what a command changes.

    The model is loaded while the first message is being typed.

    Args:
        bot: The bot, under its variant.
        history: Where the conversation is kept.
        open_session: Loads the model and returns the session; called on a thread of its own.
        model: The model's spec, for the screen.
        again: The command that a person would type to come back, without the session's name.
        failures: Where `history` puts what keeps it from storing.
        resumed: Name of the stored conversation that is continued.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        history: SafeHistory,
        open_session: Callable[[], Session],
        model: str,
        again: str,
        failures: list[StoreError],
        resumed: str | None = None,
    ) -> None:
        self.bot = bot
        self.console = make_console()
        self._history = history
        self._loading = _Loading(open_session)
        self._model = model
        self._again = again
        self._failures = failures
        self._resumed = resumed
        self._unanswered: str | None = None
        self._n_replies = 0

    @property
    def width(self) -> int:
        """Columns that texts may have."""
        return self.console.width - len(INDENT)

    def hold(self) -> int:
        """Talk until the user leaves, and return the exit status.

        Raises:
            UserError: The model cannot be loaded.
            FrozenModelChanged: The model's weights are not what they were.
        """
        with _silent_keyboard():
            self._greet()
            from promptbot.cli.line import make_line  # while the greeting is being read

            line = make_line(self.status, {"/variant": self.variants, "/resume": self.resumable})
            self._loading.start(on_failure=lambda error: _wake(line, error))
            status = self._read_and_answer(line)
            self._take_leave()
        return status

    def say(self, text: str) -> None:
        """Send a message and show the reply as it comes; Ctrl-C stops it."""
        self._unanswered = text
        stopped, failed = False, None
        with MarkdownStream(self.console) as screen, _noted_interrupts() as pressed:
            try:
                session = self._loading.result()
                session.last = None
                pieces = cast("Generator[Reply, None, None]", session.stream(text))
                try:
                    for piece in pieces:
                        screen.add(piece.text)
                        if pressed.is_set():
                            raise KeyboardInterrupt
                except KeyboardInterrupt:
                    pieces.close()  # what was said so far is remembered
                    raise
            except KeyboardInterrupt:
                stopped = True
            except PromptbotError as error:
                if self._loading.error is error:
                    raise
                failed = error
        if failed:
            self.show(error_text(failed))
        elif stopped:
            self._unanswered = None if screen.text.strip() else text
            self._n_replies += bool(screen.text.strip())
            self.tell("— stopped")
        else:
            self._unanswered = None
            self._n_replies += 1
            self._show_below(screen.text)
        self._show_failures()

    def retry(self) -> None:
        """Ask the last message again, with another seed."""
        session = self._loading.result()
        text = self._unanswered
        if text is None:
            taken = self._history.drop_last_turn(session.name)
            if not taken:
                self.tell("There is nothing to ask again: say something first.")
                return
            text = taken[0].content
        session.chain.seed += 1
        if self.bot.spec.decoding.temperature == 0:
            self.tell("At temperature 0 the same prompt gives the same reply.")
        self.console.print(Text.assemble(("› ", f"bold {ACCENT}"), visible(text)))
        self.say(text)

    def undo(self) -> None:
        """Take the last message and its reply back."""
        session = self._loading.result()
        taken = self._history.drop_last_turn(session.name)
        session.last = None
        if taken:
            self.tell(f"Taken back: {shorten(taken[0].content, self.width)}")
        else:
            self.tell("There is nothing to take back.")

    def reset(self) -> None:
        """Forget the conversation, here and where it is stored."""
        session = self._loading.result()
        self._history.delete(session.name)
        session.last = None
        self._unanswered = None
        self.tell("Forgotten. The conversation starts anew.")

    def variants(self) -> list[str]:
        """Return the names of the bot's variants."""
        from promptbot.bot.folder import DEFAULT_VARIANT, variant_files

        return list(dict.fromkeys([DEFAULT_VARIANT, *variant_files(self.bot.folder)]))

    def change_variant(self, name: str) -> None:
        """Go on with another variant of the bot, in the same conversation and with its model."""
        from promptbot.bot.folder import load_bot
        from promptbot.chain import Chain

        session = self._loading.result()
        try:
            self.bot = load_bot(self.bot.folder, name)
        except PromptbotError as error:
            self.show(error_text(error))
            return
        chain = session.chain
        session.chain = Chain(self.bot, chain.model, history=chain.history, seed=chain.seed)
        self.tell(f"From here on: {name}.")

    def sessions(self) -> list[StoredSession]:
        """Return the bot's stored conversations, newest first; none where nothing is stored."""
        try:
            return self._stored()
        except PromptbotError as error:
            self.show(error_text(error))
            return []

    def resumable(self) -> list[str]:
        """Return what completes /resume; nothing where the store cannot be read."""
        with contextlib.suppress(PromptbotError):
            return [session.name for session in self._stored()]
        return []

    def _stored(self) -> list[StoredSession]:
        store = self._history.store
        found = store.sessions() if store else []
        return [session for session in found if session.bot == self.bot.name]

    def resume(self, name: str) -> None:
        """Go on with a stored conversation of this bot."""
        session = self._loading.result()
        names = [stored.name for stored in self.sessions()]
        if name not in names:
            self.tell(f"No such conversation. {known_words('Stored', name, names[:10])}")
            return
        session.name, session.last = name, None
        self._unanswered = None
        self._show_resumed(name)

    def rename(self, name: str) -> None:
        """Give the conversation another name."""
        from promptbot.cli.names import check_session_name

        session = self._loading.result()
        store = self._history.store
        try:
            name = check_session_name(name, place="/rename")
            if name != session.name and store and store.find(name):
                self.tell(f"There is already a conversation {name}.")
                return
            self._history.rename(session.name, name)
        except PromptbotError as error:
            self.show(error_text(error))
            return
        session.name = name
        self.tell(f"This conversation is now {name}.")

    def save(self, path: str) -> None:
        """Write the conversation to a file; its ending says as what."""
        from promptbot.transcript import FORMATS, render_transcript

        session = self._loading.result()
        file = Path(path).expanduser()
        form = next((form for form in FORMATS if file.suffix == f".{form}"), None)
        store = self._history.store
        if form is None:
            self.tell("Give a file that ends with .json, .md or .html.")
        elif store is None:
            self.tell("Only a stored conversation can be saved, and this one is not stored.")
        else:
            try:
                messages = store.transcript(session.name)
                text = render_transcript(session.name, self.bot.name, messages, form)
                with file.open("x", encoding="utf-8", newline="\n") as out:
                    out.write(text)
            except FileExistsError:
                self.tell(f"{path} exists already; nothing was written.")
            except OSError as error:
                self.tell(f"{path} cannot be written ({error.strerror}).")
            except PromptbotError as error:
                self.show(error_text(error))
            else:
                self.tell(f"Saved {len(messages)} messages to {path}.")

    def last_reply(self) -> Reply | None:
        """Return the last reply, or say why there is none to explain."""
        session = self._loading.result() if self._n_replies else None
        if session and session.last:
            return session.last
        reason = "The last reply was stopped or taken back" if session else "No reply yet"
        self.tell(f"{reason}: say something first.")
        return None

    def status(self, width: int) -> str:
        """Return what stands below the line, as much of it as fits."""
        parts = [self.bot.name, self.bot.variant]
        session = self._loading.ready()
        if session is None:
            parts.append(f"loading {self._model}")
        elif session.last and session.last.trace:
            from promptbot.cli.explain import cost_in_brief

            parts += [f"turn {self._n_replies}", *cost_in_brief(session.last.trace)]
        else:
            parts.append(self._model)
        while len(parts) > 1 and len(INDENT + " · ".join(parts)) > width:
            parts.pop(0)
        return INDENT + " · ".join(parts)

    def tell(self, text: str) -> None:
        """Show a line that the bot did not say."""
        self.show(Text(visible(text), QUIET))

    def show(self, content: RenderableType) -> None:
        """Show something that the bot did not say, set apart by an empty line."""
        self.console.print(Padding(content, (0, 0, 1, len(INDENT)), expand=False))

    def _read_and_answer(self, line: PromptSession[str]) -> int:
        interrupted = False
        while True:
            try:
                text = line.prompt().strip()
                if is_command(text):
                    run_command(self, text)
                elif text:
                    self.say(text)
                interrupted = False
            except (EOFError, Leave):
                return 0
            except KeyboardInterrupt:
                if interrupted:
                    return INTERRUPTED
                interrupted = True
                self.tell("Ctrl-C once more, or Ctrl-D, leaves.")

    def _greet(self) -> None:
        details = f"  variant {self.bot.variant}, model {self._model}"
        title = Text.assemble((self.bot.name, f"bold {ACCENT}"), (visible(details), QUIET))
        lines = [title]
        if self.bot.spec.description:
            lines.append(Text(visible(self.bot.spec.description)))
        lines.append(Text("/help shows what you can do, Ctrl-D leaves.", QUIET))
        for text in lines:
            self.console.print(Padding(text, (0, 0, 0, len(INDENT)), expand=False))
        self.console.print()
        if self._resumed:
            self._show_resumed(self._resumed)

    def _show_resumed(self, name: str) -> None:
        """Show where a stored conversation stands."""
        messages = self._history.load(name)
        if not messages:
            self.tell(f"A new conversation: {name}.")
            return
        self.tell(f"Continuing {name}, {len(messages)} messages so far.")
        for message in messages[-2:]:
            if message.role == "user":
                shown = Text.assemble(("› ", QUIET), (visible(message.content), QUIET))
                self.console.print(shown)
            else:
                self.show(ReplyMarkdown(visible(message.content)))
        store = self._history.store
        transcript = store.transcript(name) if store else []
        if transcript and transcript[-1].stopped:
            self.tell("— stopped")

    def _show_below(self, said: str) -> None:
        """Show what belongs to a reply and is not its text."""
        from promptbot.cli.explain import label_line

        reply = self._loading.result().last
        if reply and reply.trace and reply.trace.label_logprobs:
            self.show(label_line(reply.trace.label_logprobs))
        elif not said.strip():
            self.tell("(no answer)")
        else:
            self.console.print()

    def _show_failures(self) -> None:
        while self._failures:
            self.show(error_text(self._failures.pop()).append(f"\n{NOT_KEPT}"))

    def _take_leave(self) -> None:
        session = self._loading.ready()
        self._show_failures()
        if session is None or not self._n_replies:
            return
        if self._history.is_stored and self._history.load(session.name):
            command = f"{self._again} --session {shlex.quote(session.name)}"
            self.console.print(Text(f"{INDENT}Kept as {session.name}. To go on:", QUIET))
            self.console.print(Text(INDENT + command), soft_wrap=True)
        session.check_frozen()


class _Loading:
    """A session that is loaded on a thread of its own, while the user types."""

    def __init__(self, load: Callable[[], Session]) -> None:
        self._load = load
        self._future: Future[Session] = Future()

    @property
    def error(self) -> BaseException | None:
        """What kept the session from loading; None while it loads and where it did."""
        return self._future.exception() if self._future.done() else None

    def start(self, on_failure: Callable[[BaseException], None]) -> None:
        """Begin to load."""

        def work() -> None:
            try:
                self._future.set_result(self._load())
            except BaseException as error:
                self._future.set_exception(error)
                on_failure(error)

        # A daemon, so that leaving does not wait for a model that nobody asked anything.
        threading.Thread(target=work, name="promptbot-load", daemon=True).start()

    def ready(self) -> Session | None:
        """Return the session where it is loaded."""
        return self._future.result() if self._future.done() and self.error is None else None

    def result(self) -> Session:
        """Return the session as soon as it is loaded, or raise what kept it from loading."""
        return self._future.result()


@contextlib.contextmanager
def _noted_interrupts() -> Iterator[threading.Event]:
    """Note every Ctrl-C: its exception is lost where it meets a destructor or a weak reference."""
    pressed = threading.Event()

    def note(number: int, frame: object) -> None:
        pressed.set()
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread: nothing reaches it
        yield pressed
        return
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _silent_keyboard() -> Iterator[None]:
    """Keep what is typed ahead off the screen; it stands on the line when that is ready."""
    try:
        import termios

        before = termios.tcgetattr(sys.stdin)
    except (ImportError, ValueError, OSError, termios.error):  # Windows, or no terminal
        yield
        return
    silent = [*before[:3], before[3] & ~(termios.ECHO | termios.ICANON), *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def _wake(line: PromptSession[str], error: BaseException) -> None:
    """End the waiting for a message with an error."""
    app = line.app
    if app.loop is not None and app.is_running:
        app.loop.call_soon_threadsafe(lambda: app.exit(exception=error))
