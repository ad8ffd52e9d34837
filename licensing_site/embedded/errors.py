"""What can go wrong with the stack that a person has to settle; the message says how."""


class EmbeddedError(Exception):
    """A server cannot be started as things are; the text names the reason and the way out."""
