"""Load from traces, and side-by-side comparison."""
