"""What another machine said, as a log or a report may hold it."""

from __future__ import annotations

MOST = 500
"""Characters of a reason at the most."""


def told(said: object, most: int = MOST) -> str:
    """One line of bounded length: of an error, or of a text that another machine sent. Nothing in it moves a terminal's cursor or begins
    another line of a log.

    Example:
        >>> told("out of\\nmemory \\x1b[2J")
        'out of memory \\\\x1b[2J'
    """
    try:
        text = str(said) or type(said).__name__
    except Exception:  # the text of an error may hold what has none: a number of more digits than Python writes
        text = type(said).__name__
    cut = " ".join(text[: 2 * most].split())
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return safe if len(safe) <= most else f"{safe[: most - 3]}..."
