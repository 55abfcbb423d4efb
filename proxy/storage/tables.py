"""The tables of the database after the newest migration, for both SQLite and PostgreSQL.

Times are integers, in milliseconds since 1970, UTC. Money is an integer in the units of ``domain/money.py``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

METADATA = MetaData()

CALLS = Table(
    "calls",
    METADATA,
    #: Created by the worker that served the call: a row that is written twice is stored once.
    Column("id", String(32), primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("request_id", String(200), nullable=False),
    #: ``speech``, ``transcriptions`` or ``translations``.
    Column("endpoint", String(20), nullable=False),
    #: SHA-256 of the virtual key; ``master`` for the master key; null if everybody may call.
    Column("key_id", String(64)),
    Column("user_id", String(256)),
    Column("team_id", String(256)),
    Column("end_user", String(256)),
    #: The model group that served the call.
    Column("model", String(256), nullable=False),
    Column("deployment", String(128)),
    Column("vendor", String(64)),
    Column("vendor_model", String(256)),
    Column("status", Integer, nullable=False),
    #: The kind of the error; null if there was none.
    Column("error", String(64)),
    Column("characters", BigInteger),
    Column("audio_seconds_in", Float),
    Column("audio_seconds_out", Float),
    Column("input_text_tokens", BigInteger),
    Column("input_audio_tokens", BigInteger),
    Column("cached_text_tokens", BigInteger),
    Column("cached_audio_tokens", BigInteger),
    Column("output_text_tokens", BigInteger),
    Column("output_audio_tokens", BigInteger),
    #: Null if the price is not known.
    Column("cost", BigInteger),
    Column("cost_basis", String(32)),
    Column("first_byte_ms", Float),
    Column("total_ms", Float, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    #: The model group that was requested, if another one served the call.
    Column("fallback", String(256)),
    #: The guardrails' verdicts, a JSON list.
    Column("guardrails", Text),
    #: What the caller was told, and what only the operator may know; both without what the caller said.
    Column("error_message", String(500)),
    Column("error_detail", String(500)),
    Index("calls_time", "time"),
    Index("calls_key_time", "key_id", "time"),
    Index("calls_end_user_time", "end_user", "time"),
    Index("calls_request_id", "request_id"),
)

#: Calls that were refused because they had no valid key; the columns are those of ``calls``.
REFUSALS = Table(
    "refusals",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("request_id", String(200), nullable=False),
    Column("endpoint", String(20), nullable=False),
    Column("status", Integer, nullable=False),
    Column("error", String(64)),
    Column("error_message", String(500)),
    Column("total_ms", Float, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Index("refusals_time", "time"),
    Index("refusals_request_id", "request_id"),
)

CALL_TAGS = Table(
    "call_tags",
    METADATA,
    Column("call_id", String(32), ForeignKey("calls.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", String(128), primary_key=True),
    Index("call_tags_tag", "tag"),
)

KEYS = Table(
    "keys",
    METADATA,
    #: SHA-256 of the key, in hexadecimal.
    Column("id", String(64), primary_key=True),
    Column("key_alias", String(256)),
    #: How the key is displayed, such as ``sk-...a1b2``.
    Column("key_name", String(32), nullable=False),
    Column("user_id", String(256)),
    Column("team_id", String(256)),
    #: These four are JSON. An empty list of models stands for all models.
    Column("models", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("guardrails", Text, nullable=False, server_default="[]"),
    Column("metadata", Text, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("deleted", Boolean, nullable=False),
    #: It was made with a master key that can be guessed, so anyone may have made it.
    Column("doubtful", Boolean, nullable=False, server_default=false()),
    #: The value of ``revisions`` after the last change.
    Column("revision", BigInteger, nullable=False),
    UniqueConstraint("key_alias", name="keys_alias"),
    Index("keys_revision", "revision"),
)

END_USERS = Table(
    "end_users",
    METADATA,
    Column("id", String(256), primary_key=True),
    Column("blocked", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("end_users_revision", "revision"),
)

#: One row, which each change of keys and end users increments: workers read it to see whether they are up to date.
REVISIONS = Table(
    "revisions", METADATA, Column("id", Integer, primary_key=True), Column("value", BigInteger, nullable=False)
)

#: What administrators changed. Never contains a key.
AUDIT = Table(
    "audit",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("time", BigInteger, nullable=False),
    #: The id of the key that made the change, ``master`` or ``command line``.
    Column("actor", String(64), nullable=False),
    #: Such as ``key.generate``.
    Column("action", String(64), nullable=False),
    Column("subject", String(256), nullable=False),
    #: JSON.
    Column("details", Text, nullable=False),
    Index("audit_time", "time"),
)
