"""This service's log records, on their way to Banyan: OTLP over HTTP, in JSON."""

import json
import logging
import random
import threading
import urllib.error
import urllib.request
import uuid
from collections import deque

from .token import Token

# What waits while Banyan is away, at most: beyond it the oldest records are dropped.
MAX_WAITING = 10_000
MAX_BATCH = 512
EVERY_SECONDS = 1.0
PAUSE_MAX_SECONDS = 30.0
# "Come again": everything else that is no success will never be taken.
COME_AGAIN = {429, 502, 503, 504}
SEVERITY = {"DEBUG": 5, "INFO": 9, "WARNING": 13, "ERROR": 17, "CRITICAL": 21}


class Shipper(logging.Handler):
    """Takes records at once, and sends them from a thread of its own, in batches."""

    def __init__(self, banyan: str, token: Token):
        super().__init__()
        self._url = f"{banyan}/otlp/v1/logs"
        self._token = token
        self._waiting: deque = deque(maxlen=MAX_WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        told = {
            "timeUnixNano": str(int(record.created * 1e9)),
            "severityNumber": SEVERITY.get(record.levelname, 9),
            "body": {"stringValue": self.format(record)},
            "attributes": [
                {"key": key, "value": {"stringValue": str(value)}}
                for key, value in getattr(record, "fields", {}).items()
            ],
        }
        # Of the request that caused it: one trace leads through all services.
        if trace := getattr(record, "trace", None):
            told["traceId"], told["spanId"] = trace
        self._waiting.append((record.name, told))

    def close(self) -> None:
        """Sends what waits, for a few seconds at most."""
        self._stopping.set()
        self._thread.join(timeout=5)
        super().close()

    def _run(self) -> None:
        failures = 0
        batch, key = [], ""
        while True:
            pause = EVERY_SECONDS
            if failures:
                pause = random.uniform(0, min(PAUSE_MAX_SECONDS, 2.0**failures))
            stopping = self._stopping.wait(pause)
            if not batch:
                count = min(len(self._waiting), MAX_BATCH)
                batch = [self._waiting.popleft() for _ in range(count)]
                # The same for each try: a batch whose answer was lost is stored once.
                key = str(uuid.uuid4())
            if batch and not self._send(batch, key):
                failures += 1
            else:
                failures, batch = 0, []
            if stopping and (failures or not self._waiting):
                return

    def _send(self, batch: list, key: str) -> bool:
        """Is the batch done with?"""
        scopes: dict[str, list] = {}
        for name, record in batch:
            scopes.setdefault(name, []).append(record)
        body = {
            "resourceLogs": [
                {
                    "scopeLogs": [
                        {"scope": {"name": name}, "logRecords": records}
                        for name, records in scopes.items()
                    ]
                }
            ]
        }
        try:
            request = urllib.request.Request(
                self._url,
                data=json.dumps(body).encode(),
                headers={
                    "authorization": f"Bearer {self._token.get()}",
                    "content-type": "application/json",
                    "idempotency-key": key,
                },
            )
            with urllib.request.urlopen(request, timeout=10):
                return True
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                self._token.refused()
                return False
            return error.code not in COME_AGAIN
        except (OSError, ValueError, KeyError):
            return False
