"""One worker process for all templates of this process: started late, killed when it must be.

The worker is started by the first template and serves all threads in turn. A template that
takes too long costs its worker's life; the next template gets a new one. A forked child starts
its own worker.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from promptbot.errors import PromptbotError, TemplateLimit

TIMEOUT_S = 2.0
"""Seconds that one rendering may take; an ordinary one takes less than a thousandth of that."""
START_TIMEOUT_S = 30.0
"""Seconds for Python and Jinja to start; the first time on a slow disk takes long."""
MAX_REQUEST = 8_000_000
"""Bytes that a template and its values may have together."""
MAX_REPLY = 100_000_000
"""Bytes that a reply may have; the worker's own bound on output is far lower."""

_START = "import sys; sys.path += sys.argv[1:]; import template_worker; template_worker.main()"
_KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")
"""Environment that Python may need in order to start; everything else may be secret."""

_lock = threading.RLock()
_worker: _Worker | None = None


class _WorkerDied(Exception):
    """The worker ended before it had replied."""


def ask_worker(template: bytes, order: bytes, name: str) -> dict[str, Any]:
    """Return the worker's reply to an order about a template.

    Args:
        template: The template as one line of JSON; equal lines are compiled once.
        order: What to do with it, as one line of JSON.
        name: The template's name, for the error.

    Raises:
        TemplateLimit: It took too long, or its worker died of it twice.
        PromptbotError: The worker does not start.
    """
    size = len(template) + len(order)
    if size > MAX_REQUEST:
        raise TemplateLimit(
            f"template and values have {size:,} bytes.",
            place=name,
            expected=f"At most: {MAX_REQUEST:,} bytes.",
            hint="Shorten the values that the template is given.",
        )
    with _lock:
        # Once more, in case the first worker died of something else: rendering changes nothing.
        for _ in range(2):
            worker = _running_worker()
            try:
                reply = worker.ask(template + order, TIMEOUT_S)
            except _WorkerDied:
                stop_worker()
            except TimeoutError:
                stop_worker()
                raise TemplateLimit(
                    f"it ran longer than {TIMEOUT_S:g} s and was stopped.",
                    place=name,
                    hint="Look for nested loops over long lists or ranges, and for huge numbers.",
                ) from None
            except BaseException:
                # Ctrl-C, for one: the reply on its way must not answer the next order.
                stop_worker()
                raise
            else:
                if reply.get("error", {}).get("kind") == "limit":
                    stop_worker()  # its memory may be full
                return reply
    raise TemplateLimit(
        "the process that renders it died of it, twice.",
        place=name,
        hint="Look for texts and lists that grow, and for deep nesting.",
    )


def stop_worker() -> None:
    """End the worker if there is one; the next template starts another."""
    global _worker
    with _lock:
        if _worker is not None:
            _worker.stop()
            _worker = None


class _Worker:
    """A running worker; its owner holds the lock."""

    def __init__(self) -> None:
        folders = [_folder_of("jinja2"), _folder_of("markupsafe"), str(Path(__file__).parent)]
        # -I and -S: neither the user's variables nor site-packages' start-up files have a say.
        command = [sys.executable, "-I", "-S", "-c", _START, *folders]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
                start_new_session=True,  # out of reach of the terminal's Ctrl-C
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # the same on Windows
            )
        except OSError as error:
            raise _cannot_start(str(error)) from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._requests, self._replies = self.process.stdin, self.process.stdout
        self._errors = self.process.stderr
        try:
            self.ask(b"", START_TIMEOUT_S)
        except (_WorkerDied, TimeoutError) as error:
            lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
            self.stop()
            raise _cannot_start(lines[-1] if lines else "it gave no reason") from error
        except BaseException:
            self.stop()
            raise
        self._errors.close()

    def ask(self, request: bytes, timeout_s: float) -> dict[str, Any]:
        """Send a request and return the reply; when time is up, the worker is dead."""
        deadline = _Deadline(self.process, timeout_s)
        try:
            self._requests.write(request)
            self._requests.flush()
            line = self._replies.readline(MAX_REPLY)
        except OSError:  # it died before it had read everything
            line = b""
        finally:
            expired = deadline.lift()
        if expired:
            raise TimeoutError
        if not line.endswith(b"\n"):
            raise _WorkerDied
        reply: dict[str, Any] = json.loads(line)
        return reply

    def stop(self) -> None:
        """Kill the process, which has nothing to save, and leave no zombie."""
        self.process.kill()
        self.process.wait()
        self._close()

    def forget(self) -> None:
        """Close our ends of the pipes and leave the process to the parent that we forked from."""
        self._close()
        self.process.returncode = 0  # not our child: nothing to wait for

    def _close(self) -> None:
        for pipe in (self._requests, self._replies, self._errors):
            with suppress(OSError):  # what was still to be written has no reader
                pipe.close()


class _Deadline:
    """Kills a process unless it is lifted in time."""

    def __init__(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        self._process = process
        self._lock = threading.Lock()
        self._lifted = False
        self._expired = False
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def _expire(self) -> None:
        with self._lock:
            if not self._lifted:
                self._expired = True
                self._process.kill()

    def lift(self) -> bool:
        """Let the process live from here on; return whether it is too late for that."""
        with self._lock:
            self._lifted = True
        self._timer.cancel()
        return self._expired


def _running_worker() -> _Worker:
    """Return the worker, a new one if there is none or if it has died."""
    global _worker
    if _worker is not None and _worker.process.poll() is not None:
        stop_worker()
    if _worker is None:
        _worker = _Worker()
    return _worker


def _folder_of(package: str) -> str:
    """Return the folder from which `package` is imported, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise _cannot_start(f"{package} is not installed")
    return str(Path(spec.origin).parent.parent)


def _cannot_start(reason: str) -> PromptbotError:
    return PromptbotError(
        f"the process that renders templates does not start ({reason}).",
        hint='Check the installation: python -c "import jinja2"',
    )


def _forget_worker() -> None:
    """In a forked child: the worker is the parent's."""
    global _worker
    if _worker is not None:
        _worker.forget()
        _worker = None
    _lock.release()


atexit.register(stop_worker)
if hasattr(os, "register_at_fork"):
    # No fork in the middle of a request: the child would hold the pipes open.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forget_worker
    )
