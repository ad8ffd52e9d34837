"""16-byte digests of the ledger, as text: it makes two for every event."""

Digest = str
"""16 bytes as 32 lower-case hexadecimal digits: PostgreSQL reads them as a uuid, and they cost a third of a `UUID`."""
