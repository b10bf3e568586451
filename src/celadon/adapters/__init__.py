"""Thin: one outside system a file. They report and act, and leave choosing to the core."""
