"""What the pages do: one thin view each."""
