"""Enums and pure rules about who may act: no Django, no clock."""
