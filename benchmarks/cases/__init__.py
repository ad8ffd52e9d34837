"""Groups of cases; each has `run(stack)`, which yields lines."""
