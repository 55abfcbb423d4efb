"""Calls, virtual keys, end users, audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TEXTS = {"key_id": 64, "user_id": 256, "team_id": 256, "end_user": 256, "deployment": 128, "vendor": 64}
COUNTS = (
    "characters", "input_text_tokens", "input_audio_tokens", "cached_text_tokens", "cached_audio_tokens",
    "output_text_tokens", "output_audio_tokens", "cost",
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("request_id", sa.String(200), nullable=False),
        sa.Column("endpoint", sa.String(20), nullable=False),
        *(sa.Column(name, sa.String(length)) for name, length in TEXTS.items()),
        sa.Column("model", sa.String(256), nullable=False),
        sa.Column("vendor_model", sa.String(256)),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.String(64)),
        *(sa.Column(name, sa.BigInteger) for name in COUNTS),
        sa.Column("audio_seconds_in", sa.Float),
        sa.Column("audio_seconds_out", sa.Float),
        sa.Column("cost_basis", sa.String(32)),
        sa.Column("first_byte_ms", sa.Float),
        sa.Column("total_ms", sa.Float, nullable=False),
        sa.Column("bytes_in", sa.BigInteger, nullable=False),
        sa.Column("bytes_out", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("fallback", sa.String(256)),
        sa.Column("guardrails", sa.Text),
    )
    op.create_index("calls_time", "calls", ["time"])
    op.create_index("calls_key_time", "calls", ["key_id", "time"])
    op.create_index("calls_end_user_time", "calls", ["end_user", "time"])
    op.create_table(
        "call_tags",
        sa.Column("call_id", sa.String(32), sa.ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", sa.String(128), primary_key=True),
    )
    op.create_index("call_tags_tag", "call_tags", ["tag"])
    op.create_table(
        "keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("key_alias", sa.String(256)),
        sa.Column("key_name", sa.String(32), nullable=False),
        sa.Column("user_id", sa.String(256)),
        sa.Column("team_id", sa.String(256)),
        sa.Column("models", sa.Text, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("guardrails", sa.Text, nullable=False, server_default="[]"),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.Column("expires", sa.BigInteger),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("key_alias", name="keys_alias"),
    )
    op.create_index("keys_revision", "keys", ["revision"])
    op.create_table(
        "end_users",
        sa.Column("id", sa.String(256), primary_key=True),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("end_users_revision", "end_users", ["revision"])
    revisions = op.create_table(
        "revisions", sa.Column("id", sa.Integer, primary_key=True), sa.Column("value", sa.BigInteger, nullable=False)
    )
    op.bulk_insert(revisions, [{"id": 1, "value": 0}])
    op.create_table(
        "audit",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(256), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
    )
    op.create_index("audit_time", "audit", ["time"])
