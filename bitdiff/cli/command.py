"""Running a command: shared flags, exit codes, and errors as one line instead of a traceback."""

import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from bitdiff.configuration import named
from bitdiff.configuration.checking import check_config
from bitdiff.runtime import files, interrupts, launchers, processes, startup
from bitdiff.runtime.errors import DivergedError, SavingError, UsageError
from bitdiff.runtime.memory import advised

_EXIT_CODES: dict[type[Exception], int] = {DivergedError: 1, UsageError: 2, SavingError: 4}


# Words that occur in jax's errors when another process is gone.
_LOST = ("gloo", "nccl", "unavailable", "coordination", "heartbeat", "connect", "socket", "barrier", "deadline", "peer")
_PATHS = ("workdir", "out", "images", "known")


def run(
    main: Callable[..., int | None],
    *,
    divisor: Callable[[], int] = lambda: 0,
    platform: str | None = None,
    takes_names: bool = False,
) -> None:
    """Runs a command and exits.

    The exit code is 0 for success, 1 if training diverged or for an unexpected error, 2 for bad input, 3 if another
    process was lost, 4 if a checkpoint could not be saved or another file could not be read or written during training,
    and 128 + n if the command was stopped by signal n.

    Args:
      main: the command; it reads its flags and may return an exit code.
      divisor: a number that the count of CPU devices of a single process must divide; 0 if any count will do.
      platform: the default of --platform; None for whatever jax finds.
      takes_names: whether main receives the command line's arguments that are not flags; otherwise there must be none.
    """

    def leave_together(argv):
        code = _guarded(main, divisor, argv, takes_names)
        if code and processes.is_joined():
            # Other processes may be waiting for this one: leaving without jax's shutdown barrier stops them too.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        return code

    _define_flags(platform)
    _show_in_help()
    app.run(leave_together, flags_parser=_parse)


def _guarded(
    main: Callable[..., int | None], divisor: Callable[[], int], argv: list[str], takes_names: bool
) -> int | None:
    """Runs a command and turns its errors into messages and exit codes."""
    if len(argv) > 1 and not takes_names:
        print(f"error: unexpected arguments: {' '.join(argv[1:])}\n(--help lists the flags)", file=sys.stderr)
        return 2
    _set_up_logging()
    _quiet_late_callbacks()
    try:
        interrupts.interrupt_promptly()
        startup.set_up_cache()
        _connect(divisor())
        with advised("lower the batch size"):
            return main(*argv[1:])
    except tuple(_EXIT_CODES) as error:
        print(f"error: {error}", file=sys.stderr)
        return _EXIT_CODES[type(error)]
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or 'unknown file'}", file=sys.stderr)
        return 2
    except jax.errors.JaxRuntimeError as error:
        if not processes.is_joined():
            raise
        reason = " ".join(str(error).split())[:300]
        if not any(word in reason.lower() for word in _LOST):
            traceback.print_exc()
            return 1
        print(
            f"error: stopping, because another process of the run exited or cannot be reached: {reason}\n"
            "Start the run again with the same command to resume from its last checkpoint",
            file=sys.stderr,
        )
        return 3
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def out_file(out: str, suffix: str) -> Path:
    """The path of an output file, after checking that it can be written.

    Args:
      out: the value of --out.
      suffix: the suffix it must have, such as '.png'.

    Raises:
      UsageError: the suffix is wrong, or the file cannot be written.
    """
    path = Path(out)
    if path.suffix != suffix or not path.parent.is_dir():
        raise UsageError(f"--out is {path}; it must be a {suffix} file in an existing folder")
    if processes.is_main():
        files.check_writable(path)
    return path


def define_config(about: str, *, required: bool = True) -> None:
    """Defines the flag --config: a file, or the name of a config that bitdiff ships."""
    config_flags.DEFINE_config_file("config", None, f"{about}: a name or file, as in digits:gray or my.py:variant.")
    if required:
        flags.mark_flag_as_required("config")


def integers(name: str, values: list[str] | None) -> tuple[int, ...] | None:
    """The integers of a list flag, or None if it was not given.

    Raises:
      UsageError: an entry is not an integer.
    """
    try:
        return None if values is None else tuple(int(value) for value in values)
    except ValueError as error:
        raise UsageError(f"--{name} is {','.join(values or [])}; it must be a list of integers, as in 0,1,2") from error


def given(*names: str) -> dict[str, Any]:
    """The values, by name, of those flags that were given."""
    values = flags.FLAGS.flag_values_dict()
    return {name: values[name] for name in names if values[name] is not None}


def _define_flags(platform: str | None) -> None:
    flags.DEFINE_enum("platform", platform, ["cpu", "gpu", "tpu"], "Required platform; by default whatever jax finds.")
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0; by default from the launcher.")
    flags.DEFINE_integer("num_processes", None, "Number of processes; by default from the launcher.", lower_bound=1)
    flags.DEFINE_integer("process_id", None, "Index of this process; by default from the launcher.", lower_bound=0)
    flags.DEFINE_integer(
        "heartbeat_seconds", 100, "Seconds of silence after which a process is considered lost.", lower_bound=5
    )


def _show_in_help() -> None:
    """Lists all of the command's flags in --help, which by default omits those that other modules define."""
    for module, members in flags.FLAGS.flags_by_module_dict().items():
        for flag in members:
            if module.startswith("bitdiff.") or flag.name == "config":
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def _connect(divisor: int) -> None:
    """Joins the run's processes; all but the first print only errors."""
    values = flags.FLAGS
    cluster = launchers.find(
        os.environ,
        coordinator=values.coordinator,
        count=values.num_processes,
        index=values.process_id,
        tpu=startup.has_tpu() and values.platform in (None, "tpu"),
    )
    if cluster is None:
        startup.use_cores(divisor)
    startup.connect(cluster, values.platform, heartbeat_seconds=values.heartbeat_seconds)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a library's handler may swallow it
    if not processes.is_main():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for as long as the process lives


def _set_up_logging() -> None:
    """Shows bitdiff's own warnings as plain lines and hides those of libraries, whose failures are raised anyway."""
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("warning: %(message)s"))
    logger = logging.getLogger("bitdiff")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def _quiet_late_callbacks() -> None:
    """Drops the tracebacks that Orbax prints after a failed read has closed its event loop.

    The failure itself is reported where it happened; hundreds of these follow it. The same goes for the threads that
    write TensorBoard's files when the disk is full.
    """
    default = sys.unraisablehook

    def hook(unraisable):
        if not (isinstance(unraisable.exc_value, RuntimeError) and "Event loop is closed" in str(unraisable.exc_value)):
            default(unraisable)

    sys.unraisablehook = hook
    default_in_thread = threading.excepthook

    def hook_in_thread(args):
        if not (isinstance(args.exc_value, OSError) and "EventLogger" in type(args.thread).__name__):
            default_in_thread(args)

    threading.excepthook = hook_in_thread


def _parse(argv: list[str]) -> list[str]:
    try:
        left = flags.FLAGS(_with_config_file(argv))
        _check_texts()
        if "config" in flags.FLAGS and flags.FLAGS.config is not None:
            check_config(flags.FLAGS.config)
        return left
    except BrokenPipeError:  # of --help | head
        sys.exit(0)
    except SystemExit:  # absl ends --help with 1
        if any(argument.lstrip("-").startswith("help") for argument in argv):
            sys.exit(0)
        message = "the --config file calls sys.exit"
    except Exception as error:
        # From a flag, a config file (which may raise anything), or an override; some messages quote a whole traceback.
        text = (
            str(error)
            .replace(f"{UsageError.__module__}.UsageError: ", "")
            .strip()
            .replace("\\n", " ")
            .replace("\\'", "'")
        )
        message = text.splitlines()[-1] if "Traceback" in text else " ".join(text.split())
        if "must have a value other than None" in message:
            message = f"{message.split('=')[0].removeprefix('flag ')} is required"
        if not isinstance(error, UsageError | flags.Error | OSError) and _from_config_file(error):
            message = f"the --config file raised {type(error).__name__}: {message}"
        if "get_config" in message:
            message = f"the --config file has no function get_config ({message})"
        elif isinstance(error, AttributeError | KeyError):
            message = _no_such_field(message, argv)
    print(f"error: {message}\n(--help lists the flags)", file=sys.stderr)
    sys.exit(2)


def _no_such_field(message: str, argv: list[str]) -> str:
    """The error for a flag that names a field that the config does not have; `message` is that of ml_collections."""
    similar = re.search(r'Did you mean "(.+?)" instead of "(.+?)"', message)
    field = similar[2] if similar else message.strip("\"'")
    if not field.isidentifier():
        return f"the config has no such field: {message}"
    names = (argument.lstrip("-").partition("=")[0] for argument in argv)
    name = next((name for name in names if field in name.split(".")), field)
    advice = f"did you mean {similar[1]!r}?" if similar else "configs/fields.md lists the fields"
    return f"there is no field {name}; {advice}"


def _from_config_file(error: Exception) -> bool:
    """Whether an error was raised by the code of a config file."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "get_config":
            return True
        trace = trace.tb_next
    return False


def _check_texts() -> None:
    """Checks that strings on the command line can be printed and saved, and that paths are local.

    Raises:
      UsageError: a string is not UTF-8, or a path is empty or a URL.
    """
    for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
        for text in flag.value if isinstance(flag.value, list) else [flag.value]:
            if not isinstance(text, str):
                continue
            if not text and flag.name in _PATHS:
                raise UsageError(f"--{flag.name} is empty; it must be a path")
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise UsageError(f"--{flag.name} is {text!r}; it must be UTF-8 text") from error
            if "://" in text:
                raise UsageError(
                    f"--{flag.name} is {text}; it must be a local path: mount the bucket or server, "
                    "and pass the path of the mount"
                )


def _with_config_file(argv: list[str]) -> list[str]:
    """The arguments with the name of a shipped config replaced by its file: --config=digits:gray, --config digits."""
    if "config" not in flags.FLAGS:
        return argv
    resolved = list(argv)
    for i, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name not in ("--config", "-config"):
            continue
        if equals:
            resolved[i] = f"{name}={named.config_file(value)}"
        elif i + 1 < len(argv):
            resolved[i + 1] = named.config_file(argv[i + 1])
    return resolved
