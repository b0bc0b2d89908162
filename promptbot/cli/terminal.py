"""A conversation at a terminal."""

from __future__ import annotations

import contextlib
import shlex
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, cast

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from promptbot.bot.live import LiveBot
from promptbot.cli import blind
from promptbot.cli.answering import tell_changes
from promptbot.cli.commands import COMMANDS, Leave, is_command, run_command
from promptbot.cli.interrupts import Working, noted_interrupts
from promptbot.cli.keyboard import Keyboard, TypeAhead
from promptbot.cli.markdown import MarkdownStream, ReplyMarkdown
from promptbot.cli.style import (
    ACCENT,
    INDENT,
    NOT_KEPT,
    QUIET,
    SIGN,
    asked_text,
    error_text,
    explained,
    make_console,
    shorten,
    visible,
)
from promptbot.errors import INTERRUPTED, InputError, PromptbotError, StoreError
from promptbot.session import check_frozen
from promptbot.store import SafeHistory

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from promptbot.bot.folder import Bot
    from promptbot.interfaces import FrozenModel
    from promptbot.session import Session
    from promptbot.store import StoredMessage
    from promptbot.turn_file import TurnFile
    from promptbot.types import Message, Reply


class Talk:
    """A conversation at a terminal: what is typed, what is shown, what a command changes.

    The model is loaded while the first message is being typed.

    Args:
        bot: The bot, under its variant.
        history: Where the conversation is kept.
        open_session: Loads the model and returns the session; called on a thread of its own.
        model: The model's spec, for the screen.
        place: The bot's name or folder as it was given.
        again: The command that a person would type to come back, without the session's name.
        failures: Where `history` puts what keeps it from storing.
        resumed: Name of the stored conversation that is continued.
        transcript: Where each turn is written too.
    """

    def __init__(
        self,
        bot: Bot,
        *,
        history: SafeHistory,
        open_session: Callable[[], Session],
        model: str,
        place: str,
        again: str,
        failures: list[StoreError],
        resumed: str | None = None,
        transcript: TurnFile | None = None,
    ) -> None:
        self.live = LiveBot(bot)
        """The bot, with what this conversation set."""
        self.console = make_console()
        self.keyboard = Keyboard()
        """The terminal's modes, and keys that nobody reads yet."""
        self._line: PromptSession[str] | None = None
        self.history = history
        """Where the conversation is kept."""
        self.models: dict[str, FrozenModel] = {}
        """Every model that was loaded by `load_model`, by its spec."""
        self._loading = _Loading(open_session)
        self._model = model
        self.place = place
        """The bot's name or folder as it was given."""
        self._again = again
        self._transcript = transcript
        self._failures = failures
        self._resumed = resumed
        self.answered = ""
        """The message that the last reply answers."""
        self._unanswered: str | None = None
        self._n_turns = 0
        self._spoke = False

    @property
    def bot(self) -> Bot:
        """The bot as it is now, under its variant."""
        return self.live.bot

    @property
    def session(self) -> Session:
        """The conversation, as soon as its model is loaded.

        Raises:
            UserError: The model cannot be loaded.
        """
        return self._loading.result()

    @property
    def loading_error(self) -> BaseException | None:
        """What kept the model from loading, which ends the program; None where nothing did."""
        return self._loading.error

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
        with self.keyboard.silent():
            self._greet()
            from promptbot.cli.line import make_line  # while the greeting is being read

            self._line = line = make_line(self.status, self._completions, self.hear)
            self._loading.start(on_failure=lambda error: _wake(line, error))
            status = self._read_and_answer(line)
            self._take_leave()
        return status

    def say(self, text: str) -> None:
        """Send a message and show the reply as it comes; Ctrl-C stops it."""
        tell_changes(self)
        asked, text = text, self.hear(text)  # what is kept of it anywhere is what the bot hears
        self._unanswered = text
        with noted_interrupts(_UNBROKEN) as pressed:
            said, stopped, failed = self._stream(asked, pressed)
            if failed is None:
                self._note_turn(text, said, stopped=stopped)
        if failed:
            self.show(error_text(failed))
        elif stopped:
            self.tell("— stopped")
        else:
            self._show_below(said)
        self._show_failures()

    def _stream(
        self, text: str, pressed: threading.Event
    ) -> tuple[str, bool, PromptbotError | None]:
        """Show the reply to a message as it comes.

        Returns:
            What was shown, whether Ctrl-C stopped it, and what went wrong.

        Raises:
            UserError: The model cannot be loaded.
        """
        with MarkdownStream(self.console) as screen, self._shown_ahead(screen):
            try:
                session = self.session
                if session.chain.bot is not self.bot:
                    session.use(bot=self.bot)
                session.last = None
                pieces = cast("Generator[Reply, None, None]", session.stream(text))
                try:
                    if pressed.is_set():
                        raise KeyboardInterrupt
                    for piece in pieces:
                        screen.add(piece.text)
                        # The piece with the trace is the last one: the turn is kept by then.
                        if pressed.is_set() and piece.trace is None:
                            raise KeyboardInterrupt
                except KeyboardInterrupt:
                    pieces.close()  # what was said so far is remembered
                    raise
            except KeyboardInterrupt:
                return screen.text, True, None
            except PromptbotError as error:
                if self._loading.error is error:
                    raise
                return screen.text, False, error
            except Exception as error:  # one reply, and not the conversation
                return screen.text, False, explained(error)
        return screen.text, False, None

    def _shown_ahead(self, screen: MarkdownStream) -> contextlib.AbstractContextManager[object]:
        """Show what is typed below the reply; not on screens that cannot move the cursor."""
        if self._line is None or not screen.is_live:
            return contextlib.nullcontext()
        return self.keyboard.ahead(self._line, screen.show_typed)

    def hear(self, text: str, own: Sequence[str] = ()) -> str:
        """Return what the bot hears of a message, which is all that may be kept of it.

        What stands in the texts that are the bot's `own` is kept.
        """
        from promptbot.guard.guard import Guard

        return Guard(self.bot.spec).hear(text, own).text

    def _note_turn(self, text: str, said: str, *, stopped: bool = False) -> None:
        """Count a turn that is over, and write it down."""
        if stopped and not said.strip():
            return  # nothing is remembered: the message can be asked again
        self.answered, self._unanswered = text, None
        self._n_turns += 1
        self._spoke = True
        session = self.session
        if self._transcript:
            reply = session.last or said
            try:
                self._transcript.add(
                    text, reply, session=session.name, bot=self.bot.name, stopped=stopped
                )
            except InputError as error:
                self._transcript = None  # told once; the conversation goes on
                self.show(error_text(error))

    def retry(self) -> None:
        """Ask the last message again, with another seed."""
        session = self.session
        text = self.last_message()
        if text is None:
            self.tell("There is nothing to ask again: say something first.")
            return
        session.use(seed=session.chain.seed + 1)
        if self.bot.spec.decoding.temperature == 0:
            self.tell("At temperature 0 the same prompt gives the same reply.")
        self.show_asked(text)
        self._say_instead(text)

    def edit(self) -> None:
        """Let the user change the last message, and ask it instead."""
        from promptbot.cli.line import ask

        text = self.last_message()
        if text is None:
            self.tell("There is nothing to change: say something first.")
            return
        changed = (ask(SIGN, text) or "").strip()
        if changed:
            self._say_instead(changed)
        else:
            self.tell("Left as it was.")

    def undo(self) -> None:
        """Take the last message and its reply back."""
        text = self.last_message()
        if text is None:
            self.tell("There is nothing to take back.")
            return
        self._take_back()
        self.session.last = None
        self.tell(f"Taken back: {shorten(text, self.width - 12)}")

    def last_message(self) -> str | None:
        """Return what the user said last, answered or not; None at the beginning."""
        if self._unanswered is not None:
            return self._unanswered
        said = self.history.load(self.session.name)
        return next((message.content for message in reversed(said) if message.role == "user"), None)

    def before_last_message(self) -> list[Message]:
        """Return what was said before the message that `last_message` returns."""
        said = self.history.load(self.session.name)
        if self._unanswered is not None:
            return said
        roles = [message.role for message in said]
        return said[: len(said) - roles[::-1].index("user") - 1] if "user" in roles else said

    def _say_instead(self, text: str) -> None:
        """Send a message in place of the last one, whose turn stays where no reply comes."""
        session, last = self.session, self.session.last
        if self._unanswered is not None:  # the last one never was in the conversation
            self.say(text)
            return
        with self.history.hidden_last_turn(session.name):
            self._n_turns -= 1
            self._unanswered = text
            try:
                self.say(text)
            finally:  # also where Ctrl-C comes before or after the reply
                if self._unanswered is not None:
                    self._unanswered, session.last = None, last
                    self._n_turns += 1
                    self.tell("The turn before stays as it was.")

    def _take_back(self) -> None:
        """Take the last turn out of the conversation; a message without a reply never was in it."""
        if self._unanswered is None:
            self.history.drop_last_turn(self.session.name)
            self._n_turns = max(self._n_turns - 1, 0)
        self._unanswered = None

    def switch_to(self, name: str, *, shown: bool = False) -> None:
        """Go on in another conversation; where it is to be `shown`, say where it stands."""
        session = self.session
        session.name, session.last = name, None
        self._unanswered = None
        messages = self.history.transcript(name)
        self._n_turns = sum(message.role == "user" for message in messages)
        self._spoke = self._spoke or self._n_turns > 0
        if shown:
            self._show_resumed(name, messages)

    def load_model(self, spec: str) -> FrozenModel:
        """Return the model that a spec names, loaded once.

        Raises:
            UserError: It cannot be loaded.
        """
        from promptbot.models.registry import load_model

        current = self.session.chain.model
        self.models.setdefault(current.spec, current)
        if spec not in self.models:
            with Working(self.console, f"loading {spec}"):
                self.models[spec] = load_model(spec, seed=self.session.chain.seed)
        return self.models[spec]

    def ask(self, question: str) -> str | None:
        """Return what the user answers, or None where they press Ctrl-C or Ctrl-D."""
        from promptbot.cli.line import ask

        return ask(INDENT + visible(question))

    def last_reply(self) -> Reply | None:
        """Return the last reply, or say why there is none to explain."""
        session = self.session if self._spoke else None
        if session and session.last:
            return session.last
        gone = "The last reply was stopped or taken back, or is of an earlier day"
        reason = gone if session else "No reply yet"
        self.tell(f"{reason}: say something first.")
        return None

    def status(self, width: int) -> str:
        """Return what stands below the line, as much of it as fits."""
        from rich.cells import cell_len

        session = self._loading.ready()
        model = session.chain.model.spec if session else f"loading {self._model}"
        # What the conversation set makes it another variant than the one of that name.
        parts = [self.bot.name, self.bot.variant + "*" * self.live.is_changed, model]
        parts += [f"turn {self._n_turns}"] if self._n_turns else []
        if session and session.last and session.last.trace:
            from promptbot.cli.explain import cost_in_brief

            parts += cost_in_brief(session.last.trace)
        parts = [visible(part) for part in parts]
        # In a narrow window the model goes first, then speed and time, the bot, the turn.
        for expendable in (model, *parts[:4:-1], self.bot.name, *parts[3:4]):
            if cell_len(INDENT + " · ".join(parts)) > width and expendable in parts:
                parts.remove(expendable)
        return INDENT + shorten(" · ".join(parts), max(width - len(INDENT), 1))

    def tell(self, text: str) -> None:
        """Show a line that the bot did not say."""
        self.show(Text(visible(text), QUIET))

    def show(self, content: RenderableType) -> None:
        """Show something that the bot did not say, set apart by an empty line."""
        self.console.print(Padding(content, (0, 0, 1, len(INDENT)), expand=False))

    def _completions(self, command: str, typed: str) -> list[str]:
        found = COMMANDS.get(command)
        if found is None or found.complete is None:
            return []
        return found.complete(self, typed)

    def _read_and_answer(self, line: PromptSession[str]) -> int:
        interrupted = False
        while True:
            try:
                text = line.prompt().strip()
                if is_command(text):
                    self._run(text)
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

    def _run(self, line: str) -> None:
        """Do what a command says; Ctrl-C or a mistake ends that, and not the conversation."""
        try:
            with noted_interrupts(_UNBROKEN):
                run_command(self, line)
        except KeyboardInterrupt:
            self.tell("— stopped")
        except (PromptbotError, EOFError, Leave):
            raise
        except Exception as error:
            self.show(error_text(explained(error)))

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
            messages = self.history.transcript(self._resumed)
            self._n_turns = sum(message.role == "user" for message in messages)
            self._show_resumed(self._resumed, messages)

    def show_asked(self, text: str) -> None:
        """Show a message as it stands where it was typed."""
        self.console.print(asked_text(text))

    def _show_resumed(self, name: str, messages: Sequence[StoredMessage]) -> None:
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
        if messages[-1].stopped:
            self.tell("— stopped")

    def _show_below(self, said: str) -> None:
        """Show what belongs to a reply and is not its text."""
        from promptbot.cli.explain import label_line

        reply = self.session.last
        if reply and reply.trace and reply.trace.label_logprobs:
            self.show(label_line(reply.trace.label_logprobs))
        elif not said.strip():
            self.tell("(no answer)")
        else:
            self.console.print()

    def _show_failures(self) -> None:
        while self._failures:
            self.show(error_text(self._failures.pop()).append(f"\n{NOT_KEPT} /save FILE keeps it."))

    def _take_leave(self) -> None:
        session = self._loading.ready()
        self._show_failures()
        if session is None or not self._spoke:
            return
        if self.history.is_stored and self.history.load(session.name):
            command = f"{self._again} --session {shlex.quote(session.name)}"
            self.console.print(Text(f"{INDENT}Kept as {session.name}. To go on:", QUIET))
            self.console.print(Text(INDENT + command), soft_wrap=True)
        session.check_frozen()
        for model in self.models.values():
            check_frozen(model)


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


_UNBROKEN = frozenset(
    done.__code__
    for done in (
        MarkdownStream.__enter__,
        MarkdownStream.add,
        MarkdownStream.__exit__,
        TypeAhead.__enter__,
        TypeAhead.__exit__,
        SafeHistory.append,
        SafeHistory._attempt,
        Talk._note_turn,
        blind.keep_pick,
    )
)
"""What Ctrl-C does not break off: an escape sequence, keys handed over, what is stored."""


def _wake(line: PromptSession[str], error: BaseException) -> None:
    """End the waiting for a message with an error."""
    app = line.app
    if app.loop is not None and app.is_running:
        app.loop.call_soon_threadsafe(lambda: app.exit(exception=error))
