"""The benchmark suite's own arithmetic: no figure of a run is tested."""
