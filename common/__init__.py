"""The shared kernel: what every app needs and no app owns. It has no models and knows no app above it."""
