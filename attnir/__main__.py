"""`python -m attnir` is the command line."""

from attnir.frontends.cli import app

if __name__ == "__main__":
    app(prog_name="attnir")
