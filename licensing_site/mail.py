"""E-mail of the quickstart: one `.eml` file a message, which any mail program opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from uuid_utils.compat import uuid7


class EmlFileBackend(BaseEmailBackend):
    """Writes each message to `EMAIL_FILE_PATH`; names sort by time."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder = Path(settings.EMAIL_FILE_PATH)
        folder.mkdir(parents=True, exist_ok=True)
        for message in email_messages:
            name = str(uuid7())
            # A reader that polls the folder never sees half a message.
            partial = folder / f".{name}.partial"
            partial.write_bytes(message.message().as_bytes())
            partial.rename(folder / f"{name}.eml")
        return len(email_messages)
