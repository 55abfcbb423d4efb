"""The messages of errors, calls by their request ids, and calls without a valid key."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("calls", sa.Column("error_message", sa.String(500)))
    op.add_column("calls", sa.Column("error_detail", sa.String(500)))
    op.create_index("calls_request_id", "calls", ["request_id"])
    op.create_table(
        "refusals",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False),
        sa.Column("endpoint", sa.String(20), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("error_message", sa.String(500)),
        sa.Column("total_ms", sa.Float, nullable=False),
        sa.Column("bytes_in", sa.BigInteger, nullable=False),
    )
    op.create_index("refusals_time", "refusals", ["time"])
    op.create_index("refusals_request_id", "refusals", ["request_id"])
