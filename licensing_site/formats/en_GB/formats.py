"""Moments to the second, in an order that sorts, on a clock of 24 hours."""

DATETIME_FORMAT = "Y-m-d H:i:s"
SHORT_DATETIME_FORMAT = "Y-m-d H:i"
