from __future__ import annotations

from unittest.mock import patch

from django.db import OperationalError

from licensing_site import key_use_writer


def test_write_once__database_away__gives_the_connection_back_and_goes_on() -> None:
    with (
        patch.object(key_use_writer, "write_seen", side_effect=OperationalError("gone")) as write,
        patch.object(key_use_writer, "connection") as connection,
    ):
        key_use_writer.write_once()

    write.assert_called_once_with()
    connection.close.assert_called_once_with()
