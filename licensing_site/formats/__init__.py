"""How moments are written where a template does not say."""
