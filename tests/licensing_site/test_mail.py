from __future__ import annotations

import email
from pathlib import Path

from django.core.mail import EmailMessage
from django.test import override_settings

from licensing_site.mail import EmlFileBackend


def test_send_messages__two_messages__are_two_files_in_order(var_dir: Path) -> None:
    folder = var_dir / "mail"
    messages = [EmailMessage(subject=f"N° {n}", body="Hallo", to=["ann@example.test"]) for n in (1, 2)]
    with override_settings(EMAIL_FILE_PATH=str(folder)):
        assert EmlFileBackend().send_messages(messages) == 2

    files = sorted(folder.iterdir())
    assert [oct(each.stat().st_mode & 0o777) for each in (folder, *files)] == ["0o700", "0o600", "0o600"]
    assert [file.suffix for file in files] == [".eml", ".eml"]
    parsed = email.message_from_bytes(files[1].read_bytes(), policy=email.policy.default)
    assert parsed["Subject"] == "N° 2"
    assert parsed["To"] == "ann@example.test"
