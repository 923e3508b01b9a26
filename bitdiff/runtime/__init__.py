"""Processes, devices, signals and files: everything about the machine, nothing about models."""
