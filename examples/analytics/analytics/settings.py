"""What the service is told by its environment."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    # Where the front door's requests come in: loopback, or a network that nobody else is on.
    listen: tuple[str, int]
    # The front door: sign-in and log records go there.
    banyan: str
    service: str
    secret: str
    nats: str
    nats_user: str
    nats_password: str
    # bus.nats.prefix of the installation.
    prefix: str
    database: Path


def read() -> Settings:
    host, _, port = os.environ.get("ANALYTICS_LISTEN", "127.0.0.1:8095").rpartition(":")
    return Settings(
        listen=(host, int(port)),
        banyan=os.environ.get("ANALYTICS_BANYAN", "http://localhost:8080").rstrip("/"),
        service=os.environ.get("ANALYTICS_SERVICE", "analytics"),
        secret=_secret("ANALYTICS_SECRET_FILE"),
        nats=os.environ.get("ANALYTICS_NATS", "nats://127.0.0.1:4222"),
        nats_user=os.environ.get("ANALYTICS_NATS_USER", "analytics"),
        nats_password=_secret("ANALYTICS_NATS_PASSWORD_FILE"),
        prefix=os.environ.get("ANALYTICS_PREFIX", "banyan"),
        database=Path(os.environ.get("ANALYTICS_DATABASE", "analytics.db")),
    )


def _secret(variable: str) -> str:
    path = os.environ.get(variable)
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SystemExit(f"{variable}: {error}") from error
