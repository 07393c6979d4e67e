"""Where the commands print."""

from __future__ import annotations

from rich.console import Console


def plain_console(soft_wrap: bool = False) -> Console:
    """Return a console that prints names as they are: no brackets are markup, no words emoji, no numbers coloured.

    Args:
        soft_wrap: Whether the terminal breaks long lines instead of us, as it does where they are not to be cut.
    """
    return Console(highlight=False, emoji=False, markup=False, soft_wrap=soft_wrap)
