"""The key, asked for on every path of the server.

vLLM 0.32 asks for its key where a path begins with /v1, /v2, /inference or /cohere. Its other
paths answer anyone, among them /invocations, which generates text like /v1/completions does,
and the paths that load adapters. vLLM takes this class by ``--middleware``.
"""

import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

KEY = "VLLM_API_KEY"
# They say only whether the server lives, to load balancers that have no key.
OPEN_PATHS = ("/health", "/ping")


class KeyGuard:
    """ASGI middleware that refuses requests without the key in $VLLM_API_KEY."""

    def __init__(self, app: Application) -> None:
        """Read the key once; without one nothing would be guarded, so that is an error."""
        self._app = app
        self._key = os.environ[KEY].encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        if scope["type"] not in ("http", "websocket") or self._may_pass(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b'{"error": "Unauthorized"}'})

    def _may_pass(self, scope: Message) -> bool:
        # A browser asks by OPTIONS, without a key, whether it may send one.
        if scope["path"] in OPEN_PATHS or scope.get("method") == "OPTIONS":
            return True
        scheme, _, given = dict(scope["headers"]).get(b"authorization", b"").partition(b" ")
        return scheme.lower() == b"bearer" and secrets.compare_digest(given, self._key)
