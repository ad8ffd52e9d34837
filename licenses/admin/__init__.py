"""Operators' pages: is it allowed."""

from licenses.admin import agents, catalogue, licenses, signing

__all__ = ["agents", "catalogue", "licenses", "signing"]
