"""Operators' pages: how much; and licences' pages again, with their quotas."""

from metering.admin import ledger, meters, money, owners, quotas, runaway, top_ups

__all__ = ["ledger", "meters", "money", "owners", "quotas", "runaway", "top_ups"]
