"""Other ways in: the command line, the text form, and drop-ins for what users already have."""
