"""The command line: commands, their options, and the tables they print."""

from metarl.cli.main import main, run

__all__ = ["main", "run"]
