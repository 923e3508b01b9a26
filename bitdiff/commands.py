"""What the commands share: flags, exit codes, and errors as one line instead of a traceback."""

import logging
import math
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from bitdiff import files, launchers, parallel
from bitdiff.errors import DivergedError, SavingError, UsageError

_EXIT_CODES: dict[type[Exception], int] = {DivergedError: 1, UsageError: 2, SavingError: 4}


def run(main: Callable[[], int | None]) -> None:
    """Runs a command and exits.

    0 done, 1 diverged, 2 bad input, 3 lost another process, 4 could not save, 128 + n stopped by signal n.

    Args:
      main: the command; it reads absl flags and may return an exit code.
    """

    def guarded(argv):
        if len(argv) > 1:
            raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
        _set_up_logging()
        _quiet_late_callbacks()
        try:
            parallel.set_up()
            _connect()
            return main()
        except tuple(_EXIT_CODES) as error:
            print(f"error: {error}", file=sys.stderr)
            return _EXIT_CODES[type(error)]
        except OSError as error:
            print(f"error: {error.strerror or error}: {error.filename or 'no file is named'}", file=sys.stderr)
            return 2
        except jax.errors.JaxRuntimeError as error:
            if not parallel.is_joined():
                raise
            reason = " ".join(str(error).split())[:300]
            print(
                f"error: this process ends, because another one of the run ended or cannot be reached: {reason}\n"
                "Start the run again with the same command: it goes on from its last checkpoint",
                file=sys.stderr,
            )
            return 3
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130

    def leave_together(argv):
        code = guarded(argv)
        if code and parallel.is_joined():
            # The others may be waiting for this process: leaving without jax's farewell ends them too.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        return code

    _define_flags()
    app.run(leave_together, flags_parser=_parse)


def out_file(suffix: str) -> Path:
    """The file that --out names, which can be written.

    Args:
      suffix: what it must end with, such as '.png'.

    Raises:
      UsageError: another ending, or a place where nothing can be written.
    """
    path = Path(flags.FLAGS.out)
    if path.suffix != suffix or not path.parent.is_dir():
        raise UsageError(f"--out is {path}; it must be a {suffix} file in a folder that exists")
    if parallel.is_main():
        files.check_writable(path)
    return path


def _define_flags() -> None:
    flags.DEFINE_enum("platform", None, ["cpu", "gpu", "tpu"], "Where the run must be; by default what there is.")
    flags.DEFINE_string("coordinator", None, "Of several processes: HOST:PORT of the first.")
    flags.DEFINE_integer("num_processes", None, "How many processes; by default as the launcher says.", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.", lower_bound=0)
    flags.DEFINE_integer("heartbeat_seconds", 100, "Of several processes: after how long a silent one is given up.")


def _shared() -> int:
    """What the devices must be able to share evenly, as far as the command's config says; 0 if any number will do."""
    config = flags.FLAGS.config if "config" in flags.FLAGS else None
    if config is None or "train" not in config or "diffusion" not in config:
        return 0
    batch_size = config.train.batch_size // max(config.train.accumulate, 1)
    return math.gcd(batch_size, round(batch_size * config.diffusion.self_cond_rate))


def _connect() -> None:
    """Joins the run's processes; all but the first print nothing but errors."""
    values = flags.FLAGS
    cluster = launchers.find(
        os.environ,
        coordinator=values.coordinator,
        count=values.num_processes,
        index=values.process_id,
        tpu=parallel.has_tpu() and values.platform in (None, "tpu"),
    )
    if cluster is None:
        parallel.use_cores(_shared())
    parallel.connect(cluster, values.platform, heartbeat_seconds=values.heartbeat_seconds)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a library's handler may swallow it
    if not parallel.is_main():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for as long as the process lives


def _set_up_logging() -> None:
    """Our own warnings as plain lines; of the libraries nothing: what fails in them is raised as well."""
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logger = logging.getLogger("bitdiff")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _quiet_late_callbacks() -> None:
    """Drops the tracebacks that Orbax' reads print when the first of them has failed and closed their loop.

    The failure itself is reported where it happened; these come after it, by the hundred.
    """
    default = sys.unraisablehook

    def hook(unraisable):
        if not (isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(unraisable.exc_value)):
            default(unraisable)

    sys.unraisablehook = hook


def _parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
        if "config" in flags.FLAGS and flags.FLAGS["config"].present:
            path = config_flags.get_config_filename(flags.FLAGS["config"]).split(":")[0]
            if not os.path.exists(path):
                raise flags.Error(f"--config: there is no file {path}")
        return rest
    except (flags.Error, OSError, AttributeError, KeyError, TypeError, ValueError, ImportError, SyntaxError) as error:
        # From a flag, a config file, or an override of a field; some messages quote a whole traceback.
        text = str(error).strip().replace("\\n", " ").replace("\\'", "'")
        message = text.splitlines()[-1] if "Traceback" in text else " ".join(text.split())
        if "get_config" in message:
            message = f"the file of --config has no function get_config ({message})"
        elif isinstance(error, AttributeError | KeyError):
            message = f"the config has no such field: {message}"
    print(f"error: {message}\n(--help lists the flags)", file=sys.stderr)
    sys.exit(2)
