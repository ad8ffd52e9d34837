"""The coalescing door: an ASGI application that answers the hot endpoints for everybody who waits, in one go."""
