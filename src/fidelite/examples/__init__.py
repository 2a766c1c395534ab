"""Worked examples that travel inside the wheel."""
