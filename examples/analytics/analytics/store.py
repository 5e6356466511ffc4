"""What was counted, and how far: one SQLite file."""

import sqlite3
from datetime import date, timedelta
from pathlib import Path

SCHEMA = """
-- Of each subject the position of its last event, which what comes again is not beyond, and whether it is
-- among those that were counted.
CREATE TABLE IF NOT EXISTS subjects (
    topic   TEXT NOT NULL,
    subject TEXT NOT NULL,
    pos     INTEGER NOT NULL,
    counted INTEGER NOT NULL,
    PRIMARY KEY (topic, subject)
) WITHOUT ROWID;
-- By day, in UTC. No names, no addresses.
CREATE TABLE IF NOT EXISTS days (
    day      TEXT PRIMARY KEY,
    sign_ups INTEGER NOT NULL DEFAULT 0,
    profiles INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
"""

COUNTED = {
    "identity.user.registered.v1": "sign_ups",
    # The state of an account, told again to those who missed its history.
    "identity.user.restated.v1": "sign_ups",
    "profile.profile.created.v1": "profiles",
}


def connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=10)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


class Store:
    def __init__(self, path: Path):
        self._connection = connect(path)
        self._connection.executescript(SCHEMA)

    def take(self, event: dict) -> bool:
        """Counts an event, once, however often it comes. True when it was new.

        The count and the position are one transaction: no kill can come between them.
        """
        if "keyseq" not in event:
            return False  # without order, and nothing that is counted here
        topic = ".".join(event["type"].split(".")[:2])
        key = (topic, event["subject"])
        column = COUNTED.get(event["type"])
        with self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            found = connection.execute(
                "SELECT pos, counted FROM subjects WHERE topic = ? AND subject = ?", key
            ).fetchone()
            pos, counted = found or (0, 0)
            if event["pos"] <= pos:
                return False
            connection.execute(
                "INSERT INTO subjects VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET pos = excluded.pos, counted = excluded.counted",
                (*key, event["pos"], bool(column) or counted),
            )
            if column and not counted:
                day = event["data"].get("registered_at", event["time"])[:10]
                connection.execute(
                    f"INSERT INTO days (day, {column}) VALUES (?, 1) "
                    f"ON CONFLICT DO UPDATE SET {column} = {column} + 1",
                    (day,),
                )
            return True


def last_days(path: Path, days: int, today: date) -> list[dict]:
    """One for each day, the oldest first, those without sign-ups too."""
    first = today - timedelta(days=days - 1)
    connection = connect(path)
    try:
        rows = connection.execute(
            "SELECT day, sign_ups, profiles FROM days WHERE day >= ?", (first.isoformat(),)
        )
        known = {day: (sign_ups, profiles) for day, sign_ups, profiles in rows}
    finally:
        connection.close()
    counted = []
    for n in range(days):
        day = (first + timedelta(days=n)).isoformat()
        sign_ups, profiles = known.get(day, (0, 0))
        counted.append({"day": day, "sign_ups": sign_ups, "profiles": profiles})
    return counted
