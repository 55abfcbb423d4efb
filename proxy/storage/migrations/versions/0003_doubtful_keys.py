"""Keys that were made with a master key that can be guessed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("keys", sa.Column("doubtful", sa.Boolean, nullable=False, server_default=sa.false()))
