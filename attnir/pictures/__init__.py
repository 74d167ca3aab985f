"""Pictures of patterns: what is in them (`panels.py`, `near.py`), as a figure (`figure.py`), as a page (`page.py`)."""
