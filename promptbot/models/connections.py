"""Connections to OpenAI's servers and those that speak like them, kept from call to call.

The openai package ends a streamed answer at its last event and gives the response up before the end
of its body, which closes the connection: each call would begin with another one, and on the
internet with another TLS handshake.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from typing import Any

LAST_EVENT = b"data: [DONE]"

END_WITHIN_S = 0.1
"""How long the end of a body may take to arrive after the last event, in seconds; a connection on
which it does not is given up."""


def keeping_client() -> Any:
    """Return an HTTP client for the openai package that keeps connections after streamed answers.

    Raises:
        ImportError: The package is not installed.
    """
    import openai

    return openai.DefaultHttpxClient(event_hooks={"response": [_read_to_its_end]})


def _read_to_its_end(response: Any) -> None:
    """Let a response that is closed after its last event first be read to its end.

    One that is closed in its middle is given up, as before.
    """
    package = type(response).__module__.partition(".")[0]
    response.stream = _stream_class(package)(response.stream, response.request)


@cache
def _stream_class(package: str) -> Any:
    """Return the class of such streams for httpx, or for a package of its kind."""
    base: Any = import_module(package).SyncByteStream

    class ReadToItsEnd(base):  # type: ignore[misc]  # known only once the package is
        def __init__(self, stream: Any, request: Any) -> None:
            self.stream, self.request = stream, request
            self.end, self.is_over = b"", False

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self.stream:
                self.end = (self.end + chunk)[-len(LAST_EVENT) - 8 :]
                yield chunk
            self.is_over = True

        def close(self) -> None:
            try:
                if LAST_EVENT in self.end and not self.is_over:
                    self.request.extensions["timeout"]["read"] = END_WITHIN_S
                    for _ in self.stream:
                        pass
            except Exception:  # nobody waits for these bytes, so nothing is lost with them
                pass
            finally:
                self.stream.close()

    return ReadToItsEnd
