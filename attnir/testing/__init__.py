"""Testing patterns: what they mean, what is checked of them, and random ones."""
