"""The command line: running a command, and flags that several commands share, read into typed requests."""
