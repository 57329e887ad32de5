"""The command line: ``python -m fedhds``, and ``fedhds`` where the package is installed."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from . import Error, __version__
from ._cli import doctor, experiment, picks, report, select, simulate

DESCRIPTION = """\
fedhds: select the 1% of the records that is worth training on, within a file or across clients.
"""

EPILOG = """\
`fedhds COMMAND --help` says more about a command.

exit codes: 0 done, 1 the work failed (the reason is on stderr), 2 the command was not understood, 130 stopped by Ctrl-C
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    made = argparse.ArgumentParser(
        prog="fedhds", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--version", action="version", version=f"fedhds {__version__}")
    commands = made.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for command in (select, simulate, experiment, report, picks, doctor):
        command.add(commands)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code.

    Args:
        argv: the arguments; None is those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal without a character shows another
    arguments = parser().parse_args(argv)
    try:
        code = arguments.run(arguments)
        sys.stdout.flush()
        return int(code)
    except KeyboardInterrupt:
        print("fedhds: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read stdout (`| head`) has enough. The interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Error as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except Exception as error:
        if os.environ.get("FEDHDS_TRACEBACK"):
            raise
        return _failed(f"{type(error).__name__}: {error} (unexpected; FEDHDS_TRACEBACK=1 shows where)")


def _failed(reason: str) -> int:
    print(f"fedhds: error: {' '.join(reason.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
