"""Operators' pages: who."""

from tenants.admin import keys, people, records, workspaces

__all__ = ["keys", "people", "records", "workspaces"]
