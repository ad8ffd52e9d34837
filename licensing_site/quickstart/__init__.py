"""The demo vendor of the quickstart: sells agents for real, with a month of usage behind it.

Everything is made through the services and the ledger that ship. Running it again adds nothing twice: things are
found by their codes, and events have ids that follow from a fixed seed.
"""
