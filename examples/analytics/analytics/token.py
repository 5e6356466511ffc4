"""The access token of this service (RFC 6749 §4.4)."""

import base64
import json
import threading
import time
import urllib.request

# Not used so shortly before its end: requests travel, and clocks differ.
MARGIN_SECONDS = 30
MAX_ANSWER_BYTES = 16 * 1024


class Token:
    """Signs in when a token is first asked for, and keeps it until shortly before its end."""

    def __init__(self, banyan: str, service: str, secret: str):
        self._url = f"{banyan}/oauth/token"
        pair = base64.b64encode(f"{service}:{secret}".encode()).decode()
        self._authorization = f"Basic {pair}"
        self._lock = threading.Lock()
        self._token = ""
        self._good_until = 0.0

    def get(self) -> str:
        with self._lock:
            if time.monotonic() >= self._good_until:
                self._fetch()
            return self._token

    def refused(self) -> None:
        """It was not taken, whatever its age: the next one is a new one."""
        with self._lock:
            self._good_until = 0.0

    def _fetch(self) -> None:
        request = urllib.request.Request(
            self._url,
            data=b"grant_type=client_credentials",
            headers={"authorization": self._authorization},
        )
        asked = time.monotonic()
        with urllib.request.urlopen(request, timeout=5) as answer:
            told = json.loads(answer.read(MAX_ANSWER_BYTES))
        self._token = told["access_token"]
        self._good_until = asked + max(1, told["expires_in"] - MARGIN_SECONDS)
