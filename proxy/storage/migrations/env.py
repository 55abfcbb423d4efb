"""Alembic's entry point: runs the migrations on the connection of ``database.py``, in its transaction."""

from __future__ import annotations

from alembic import context

from proxy.storage.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table="audio_proxy_version",
    transactional_ddl=False,
)
context.run_migrations()
