"""What the commands share: flags, exit codes, and errors as one line instead of a traceback."""

import sys
from collections.abc import Callable

from absl import app, flags, logging

from bitdiff import parallel
from bitdiff.errors import DivergedError, UsageError


def run(main: Callable[[], int | None]) -> None:
    """Runs a command and exits: 0 done, 1 diverged, 2 bad input, 128 + n stopped by signal n.

    Args:
      main: the command; it reads absl flags and may return an exit code.
    """

    def guarded(argv):
        if len(argv) > 1:
            raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
        logging.set_verbosity(logging.WARNING)
        try:
            parallel.set_up()
            return main()
        except UsageError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        except DivergedError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    app.run(guarded, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        message = str(error)
    except (OSError, AttributeError, KeyError, TypeError, ValueError, ImportError) as error:
        message = f"{type(error).__name__}: {error}"  # from a config file, or an override of a field
    print(f"error: {message}\n(--help lists the flags)", file=sys.stderr)
    sys.exit(2)
