"""Verifying a pattern: random calls of it, held to every property."""
