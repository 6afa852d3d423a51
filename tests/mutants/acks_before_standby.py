"""Commits are answered when this server has them, whatever the database's own settings say about its standby."""

from __future__ import annotations

from mutation import serve

from windlass.store.session_settings import SESSION_SETTINGS

SESSION_SETTINGS["synchronous_commit"] = "local"

if __name__ == "__main__":
    serve()
