"""What the service answers behind the front door.

Who calls is read from the X-Banyan- headers, which the front door sets and takes from nobody. So nobody
else may be able to connect here: listen on loopback, or on a network of the two alone.
"""

import json
import logging
import re
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from urllib.parse import parse_qs, urlsplit

from . import page
from .settings import Settings
from .store import last_days

log = logging.getLogger(__name__)

MAX_DAYS = 366
MAX_IN_FLIGHT = 32
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# What anybody may have: the form to sign in with, and what it looks like.
FILES = {
    "/analytics/sign-in": ("sign-in.html", "text/html; charset=utf-8"),
    "/analytics/sign-in/sign-in.js": ("sign-in.js", "text/javascript; charset=utf-8"),
    "/analytics/sign-in/style.css": ("style.css", "text/css; charset=utf-8"),
}
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class Handler(BaseHTTPRequestHandler):
    # Connections are kept longer than the front door keeps them (keep_idle_seconds, 15).
    protocol_version = "HTTP/1.1"
    timeout = 30
    server: "Server"

    def do_GET(self) -> None:
        # What came with it is not read: left on the connection, it would be taken for the next request.
        if "content-length" in self.headers or "transfer-encoding" in self.headers:
            self.close_connection = True
        with self.server.room:
            self._get()

    def _get(self) -> None:
        url = urlsplit(self.path)
        if url.path == "/healthz":
            return self._answer(200, "text/plain", "ok")
        if file := FILES.get(url.path.rstrip("/")):
            name, kind = file
            text = resources.files(__package__).joinpath("static", name).read_text()
            return self._answer(200, kind, text)
        if url.path in ("/analytics", "/analytics/", "/analytics/v1/sign-ups"):
            return self._sign_ups(url.path, url.query)
        self._problem(404, "There is nothing here.")

    def _sign_ups(self, path: str, query: str) -> None:
        asked_by = self.headers.get("x-banyan-principal")
        if not asked_by:
            return self._problem(403, "This did not come through the front door.")
        days = parse_qs(query).get("days", ["30"])[-1]
        if not re.fullmatch("[0-9]{1,3}", days) or not 1 <= int(days) <= MAX_DAYS:
            return self._problem(400, f"days: 1 to {MAX_DAYS} are possible.")
        today = datetime.now(timezone.utc).date()
        counted = last_days(self.server.settings.database, int(days), today)
        if path.endswith("/sign-ups"):
            total = sum(day["sign_ups"] for day in counted)
            body = {"asked_by": asked_by, "total": total, "days": counted}
            self._answer(200, "application/json", json.dumps(body))
        else:
            self._answer(200, "text/html; charset=utf-8", page.render(counted, asked_by))

    def _problem(self, status: int, detail: str) -> None:
        """RFC 9457."""
        body = {"type": "about:blank", "status": status, "detail": detail}
        self._answer(status, "application/problem+json", json.dumps(body))

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("cache-control", "no-store")
        self.send_header("content-security-policy", POLICY)
        self.send_header("x-content-type-options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-") -> None:
        if not hasattr(self, "headers"):
            return  # it was no request
        path = urlsplit(self.path).path
        if path == "/healthz":
            return
        fields = {
            "path": path,
            "status": int(code),
            "asked_by": self.headers.get("x-banyan-principal", ""),
            "request": self.headers.get("x-request-id", ""),
        }
        trace = TRACEPARENT.fullmatch(self.headers.get("traceparent", ""))
        extra = {"fields": fields, "trace": trace and trace.groups()}
        log.info("answered a request", extra=extra)

    def log_message(self, format, *args) -> None:
        """What a client sends that is no request, and the like."""
        log.debug(format, *args)


class Server(ThreadingHTTPServer):
    def __init__(self, settings: Settings):
        self.settings = settings
        # Requests that are answered at once; more wait.
        self.room = threading.BoundedSemaphore(MAX_IN_FLIGHT)
        super().__init__(settings.listen, Handler)

    def stop(self) -> None:
        """Takes no more connections, and ends the requests in flight, in a few seconds at most."""
        self.shutdown()
        for _ in range(MAX_IN_FLIGHT):
            if not self.room.acquire(timeout=5):
                break
