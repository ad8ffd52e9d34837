"""Requests and answers of the agents' door as they are on the wire, and how domain values become them."""
