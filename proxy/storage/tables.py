"""The tables of the database, as the newest migration leaves them. SQLite and PostgreSQL alike.

Times are integers: milliseconds since 1970, UTC. Money is an integer too, in units of 10⁻¹⁰ USD, since SQLite has no
decimals: sums are exact, and nine hundred million dollars fit.
"""

from __future__ import annotations

from decimal import Decimal

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
)

METADATA = MetaData()
#: USD a unit of money.
MONEY = Decimal("1e-10")

CALLS = Table(
    "calls",
    METADATA,
    #: Made by the worker that served the call; a row that is written twice is one row.
    Column("id", String(32), primary_key=True),
    Column("time", BigInteger, nullable=False),
    Column("request_id", String(200), nullable=False),
    #: ``speech``, ``transcriptions`` or ``translations``.
    Column("endpoint", String(20), nullable=False),
    #: SHA-256 of the virtual key; ``master`` for the master key; null where everybody may call.
    Column("key_id", String(64)),
    Column("user_id", String(256)),
    Column("team_id", String(256)),
    Column("end_user", String(256)),
    #: The group that served it.
    Column("model", String(256), nullable=False),
    Column("deployment", String(128)),
    Column("vendor", String(64)),
    Column("vendor_model", String(256)),
    Column("status", Integer, nullable=False),
    #: Kind of the error; null where there was none.
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
    #: Null where nobody knows the price.
    Column("cost", BigInteger),
    Column("cost_basis", String(32)),
    Column("first_byte_ms", Float),
    Column("total_ms", Float, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    #: The group that was asked for, where another one served.
    Column("fallback", String(256)),
    #: JSON list of what guardrails said.
    Column("guardrails", Text),
    Index("calls_time", "time"),
    Index("calls_key_time", "key_id", "time"),
    Index("calls_end_user_time", "end_user", "time"),
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
    #: The key's beginning and end, for people: ``sk-…a1b2``.
    Column("key_name", String(32), nullable=False),
    Column("user_id", String(256)),
    Column("team_id", String(256)),
    #: JSON; an empty list of models means all.
    Column("models", Text, nullable=False),
    Column("tags", Text, nullable=False),
    Column("guardrails", Text, nullable=False, server_default="[]"),
    Column("metadata", Text, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger),
    Column("deleted", Boolean, nullable=False),
    #: The value of ``revisions`` at the last change.
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

#: One row, counted up by each change of keys and end users: workers look at it to see whether they are up to date.
REVISIONS = Table(
    "revisions", METADATA, Column("id", Integer, primary_key=True), Column("value", BigInteger, nullable=False)
)

#: What administrators did. Never a key.
AUDIT = Table(
    "audit",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("time", BigInteger, nullable=False),
    #: Id of the key that did it, or ``master``, or ``command line``.
    Column("actor", String(64), nullable=False),
    #: Such as ``key.generate``.
    Column("action", String(64), nullable=False),
    Column("subject", String(256), nullable=False),
    #: JSON.
    Column("details", Text, nullable=False),
    Index("audit_time", "time"),
)
