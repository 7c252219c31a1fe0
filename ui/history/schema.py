"""The tables of the chat's own database. `ui/migrations` makes them; a test proves that both agree.

Columns that carry what Chainlit sends have Chainlit's names, so that a test can compare them with its dictionaries.
"""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("identifier", String(255), nullable=False, unique=True),  # as the sign-in names the person
    Column("createdAt", String(32), nullable=False),
)

threads = Table(
    "threads",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("userId", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("createdAt", String(32), nullable=False),
    Column("name", Text),
    Column("tags", JSON),
    Column("metadata", JSON),
    Index("ix_threads_of_user", "userId", "createdAt"),
)

steps = Table(
    "steps",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("threadId", String(64), ForeignKey("threads.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("parentId", String(64), index=True),
    Column("name", Text),
    Column("type", String(32)),
    Column("command", Text),
    Column("modes", JSON),
    Column("streaming", Boolean),
    Column("waitForAnswer", Boolean),
    Column("isError", Boolean),
    Column("metadata", JSON),
    Column("tags", JSON),
    Column("input", Text),
    Column("output", Text),
    Column("createdAt", String(32)),
    Column("start", String(32)),
    Column("end", String(32)),
    Column("generation", JSON),
    Column("showInput", JSON),  # true, false, or the name of a language
    Column("defaultOpen", Boolean),
    Column("autoCollapse", Boolean),
    Column("language", Text),
    Column("icon", Text),
)

elements = Table(
    "elements",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("threadId", String(64), ForeignKey("threads.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("forId", String(64)),
    Column("type", String(32)),
    Column("chainlitKey", Text),
    Column("path", Text),
    Column("url", Text),
    Column("objectKey", Text),
    Column("name", Text),
    Column("display", String(16)),
    Column("size", String(16)),
    Column("language", Text),
    Column("page", Integer),
    Column("props", JSON),
    Column("autoPlay", Boolean),
    Column("playerConfig", JSON),
    Column("mime", Text),
)

feedbacks = Table(
    "feedbacks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("forId", String(64), ForeignKey("steps.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("value", Integer, nullable=False),  # 1 thumb up, 0 thumb down
    Column("comment", Text),
)

# Session tokens that were signed out before they expired, by SHA-256.
signed_out = Table(
    "signed_out",
    metadata,
    Column("token", String(64), primary_key=True),
    Column("expiresAt", BigInteger, nullable=False),  # seconds since 1970; the row may go then
)

# People who sign in with a password. `banksight users` writes them; `sealed` is their key of the API, encrypted.
accounts = Table(
    "accounts",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("passwordHash", Text, nullable=False),  # argon2id, with its parameters and salt
    Column("sealed", Text, nullable=False),
    Column("createdAt", String(32), nullable=False),
    Column("failures", Integer, nullable=False),  # in a row
    Column("lockedUntil", BigInteger, nullable=False),  # seconds since 1970
)

# Sessions whose secrets stay on the server: of a password, or of the bank's identity provider.
sessions = Table(
    "sessions",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("userId", String(36), ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("account", String(64), ForeignKey("accounts.name", ondelete="CASCADE"), index=True),
    Column("sealed", Text, nullable=False),  # a key, or the provider's tokens, encrypted
    Column("expiresAt", BigInteger, nullable=False),  # seconds since 1970
)
