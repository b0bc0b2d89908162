"""A local server that answers every request of OpenAI's protocol in the same friendly way."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ("Hello", " there", ", 1 and 2.")
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


class Handler(BaseHTTPRequestHandler):
    """Answers whole, or in pieces where a stream is asked for."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        streams = bool(asked.get("stream"))
        counts = (asked.get("stream_options") or {}).get("include_usage", False)
        body = stream_body(counts=counts) if streams else whole_body()
        self.send_response(200)
        kind = "text/event-stream" if streams else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def whole_body() -> bytes:
    """Return an answer in one piece."""
    message = {"role": "assistant", "content": "".join(WORDS)}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**body, "choices": [choice], "usage": USAGE}).encode()


def stream_body(*, counts: bool) -> bytes:
    """Return the events of a stream, its usage last where it was asked for."""
    body = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": word} for word in WORDS]
    choices = [[{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas]
    choices.append([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    events: list[dict[str, Any]] = [{**body, "choices": choice} for choice in choices]
    if counts:
        events.append({**body, "choices": [], "usage": USAGE})
    lines = [*map(json.dumps, events), "[DONE]"]
    return b"".join(f"data: {line}\n\n".encode() for line in lines)


@contextmanager
def serving() -> Iterator[str]:
    """Yield the base URL of a running server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
