"""Operators' pages: how much; and licences' pages again, with their quotas."""

from metering.admin import ledger, meters, money, owners, quotas

__all__ = ["ledger", "meters", "money", "owners", "quotas"]
