"""Counts the sign-ups of a Banyan installation: an example of a service beside it."""
