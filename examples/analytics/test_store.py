"""`python -m unittest`, in this folder."""

import tempfile
import unittest
from datetime import date
from pathlib import Path

from analytics.store import Store, last_days


def event(kind: str, subject: str, pos: int, **data) -> dict:
    return {
        "type": kind,
        "subject": subject,
        "pos": pos,
        "keyseq": pos,
        "time": "2026-11-21T23:59:59Z",
        "data": data,
    }


class Counting(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "counts.db")
        self.store = Store(self.path)

    def sign_ups(self) -> list[int]:
        return [day["sign_ups"] for day in last_days(self.path, 2, date(2026, 11, 21))]

    def test_what_comes_again_is_not_counted_again(self):
        registered = event("identity.user.registered.v1", "ada", 1)
        granted = event("identity.user.role_granted.v1", "ada", 3)
        self.assertTrue(self.store.take(registered))
        self.assertTrue(self.store.take(granted))
        for again in (registered, granted):
            self.assertFalse(self.store.take(again))
            # After a restart, too.
            self.assertFalse(Store(self.path).take(again))
        self.assertEqual(self.sign_ups(), [0, 1])

    def test_who_was_missed_is_counted_when_told_again(self):
        restated = {"registered_at": "2026-11-20T08:00:00Z"}
        self.store.take(event("identity.user.registered.v1", "ada", 1))
        self.store.take(event("identity.user.role_granted.v1", "bob", 2))
        for pos in (3, 5):
            self.store.take(event("identity.user.restated.v1", "ada", pos, **restated))
            self.store.take(event("identity.user.restated.v1", "bob", pos + 1, **restated))
        self.assertEqual(self.sign_ups(), [1, 1])
