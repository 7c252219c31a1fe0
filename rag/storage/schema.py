"""The tables of the registry. Alembic's migrations in `migrations/` make them; a test proves that both agree."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()

documents = Table(
    "documents",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("source", String(64), nullable=False, index=True),
    Column("uri", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("collection", String(64), nullable=False),
    Column("tenant", String(128), nullable=False),
    Column("scope", String(128), nullable=False),  # the Chroma collection that holds its chunks
    Column("media_type", String(128), nullable=False),
    Column("fingerprint", Text, nullable=False),  # as the connector lists it; empty: must be read again
    Column("content_hash", String(64), nullable=False),  # SHA-256 of the original bytes; names the stored original
    Column("access", Text, nullable=False),  # JSON list of labels, sorted
    Column("effective_from", String(10)),
    Column("effective_to", String(10)),
    Column("supersedes", Text),
    Column("pages", Integer, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("reason", String(32), nullable=False),
    Column("message", Text, nullable=False),
    Column("snapshot_added", BigInteger, nullable=False),
    Column("updated_at", String(32), nullable=False),
)

pages = Table(
    "pages",
    metadata,
    Column("document_id", String(16), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("label", Text, nullable=False),
    Column("text", Text, nullable=False),
)

chunks = Table(
    "chunks",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("document_id", String(16), nullable=False, index=True),
    Column("scope", String(128), nullable=False),
    Column("page", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("section", Text, nullable=False),
    Column("header", Text, nullable=False),  # the first line of the table that the chunk continues
    Column("indexed_hash", String(64), nullable=False, index=True),  # SHA-256 of the text that was embedded
)

# Chunk ids that Chroma or the lexical index may hold although `chunks` does not list them. Written before every
# change to those two and cleared after it, so that a killed run leaves a list of what to clean up.
journal = Table(
    "journal",
    metadata,
    Column("scope", String(128), primary_key=True),
    Column("chunk_id", String(64), primary_key=True),
)

state = Table(
    "state",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("value", Text, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("created_at", String(32), nullable=False),
    Column("body", Text, nullable=False),  # JSON
    Column("state", String(16), nullable=False, index=True),  # as in the body
    Column("stop", Integer, nullable=False),  # 1: somebody wants it to end at its next safe point
    Index("ix_jobs_created_at", "created_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(128), nullable=False),
    Column("subject", String(255), nullable=False, index=True),
    Column("tenant", String(128), nullable=False),
    Column("roles", Text, nullable=False),  # JSON list, sorted
    Column("clearances", Text, nullable=False),  # JSON list, sorted
    Column("digest", String(64), nullable=False),  # HMAC-SHA-256 of the key under the pepper
    Column("created_at", BigInteger, nullable=False),  # all times here: seconds since 1970
    Column("expires_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
)

# Labels that people added. They narrow what the source says, and stay when the document is read again or comes back.
labels = Table(
    "labels",
    metadata,
    Column("document_id", String(16), primary_key=True),
    Column("label", String(64), primary_key=True),
    Column("added_by", String(255), nullable=False),
    Column("added_at", BigInteger, nullable=False),
)

# Why documents are held back. A row goes with the version of the document that it is about.
quarantined = Table(
    "quarantined",
    metadata,
    Column("document_id", String(16), primary_key=True),
    Column("content_hash", String(64), nullable=False),  # SHA-256 of the bytes that were looked at
    Column("found", Text, nullable=False),  # JSON list of {reason, page, excerpt}
    Column("held_at", BigInteger, nullable=False),  # seconds since 1970
)

# What people let through although it was in question: these bytes under this id, and no others.
released = Table(
    "released",
    metadata,
    Column("document_id", String(16), primary_key=True),
    Column("content_hash", String(64), primary_key=True),
    Column("released_by", String(255), nullable=False),
    Column("released_at", BigInteger, nullable=False),
)

# What people agreed to, in the version that they read.
consents = Table(
    "consents",
    metadata,
    Column("tenant", String(128), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("purpose", String(31), primary_key=True),
    Column("version", String(32), nullable=False),
    Column("given_at", BigInteger, nullable=False),  # seconds since 1970
    Column("withdrawn_at", BigInteger),
)

# Tokens that no longer count although they have not expired.
signed_out = Table(
    "signed_out",
    metadata,
    Column("key", String(80), primary_key=True),  # of one token or of one subject, hashed
    Column("issued_until", BigInteger, nullable=False),  # tokens issued at this second or before
    Column("expires_at", BigInteger, nullable=False),  # when the row may go, because all such tokens have expired
)

# Under these keys the audit trail hides who asked and what. Without its key, nobody can tell whose a record is.
subject_keys = Table(
    "subject_keys",
    metadata,
    Column("name", String(64), primary_key=True),  # HMAC-SHA-256 of tenant and subject
    Column("wrapped", String(128), nullable=False),  # the key under AES-256-GCM, base64
    Column("pseudonym", String(32), nullable=False, index=True),  # as in the records
    Column("created_at", BigInteger, nullable=False),  # seconds since 1970
)

# Who uploaded a document, and when last: the latest one owns it. Rows outlive the document, not the person's erasure.
uploads = Table(
    "uploads",
    metadata,
    Column("document_id", String(16), primary_key=True),
    Column("tenant", String(128), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("collection", String(64), nullable=False),
    Column("name", Text, nullable=False),  # of the file
    Column("uploaded_at", BigInteger, nullable=False),  # seconds since 1970
    Index("ix_uploads_of_person", "tenant", "subject"),
)

# Erasures of persons. Nothing here names them: what is needed until an erasure is done is sealed, and then gone.
erasures = Table(
    "erasures",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False, index=True),  # of the person, as in subject_keys
    Column("asked_by", String(16), nullable=False),  # person | operator
    Column("asked_at", BigInteger, nullable=False),  # seconds since 1970
    Column("sealed", Text),  # JSON under AES-256-GCM; NULL once it is done
    Column("certificate", Text),  # JSON, signed; NULL until it is done
)
