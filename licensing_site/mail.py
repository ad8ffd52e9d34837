"""E-mail of the quickstart: one `.eml` file a message, which any mail program opens."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from uuid_utils.compat import uuid7

from licensing_site.embedded.places import private_folder


class EmlFileBackend(BaseEmailBackend):
    """Writes each message to `EMAIL_FILE_PATH`; names sort by time, and nobody but their owner can read them."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        folder = Path(settings.EMAIL_FILE_PATH)
        # Mails carry links that let people in.
        private_folder(folder)
        for message in email_messages:
            name = str(uuid7())
            # A reader that polls the folder never sees half a message.
            partial = folder / f".{name}.partial"
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(message.message().as_bytes())
            partial.rename(folder / f"{name}.eml")
        return len(email_messages)
