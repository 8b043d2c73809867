"""One module a command: its options, its examples, and the call of what does the work."""
