"""Every process of a run shows the others that it is alive, so that none waits forever for one that is not.

A process that is killed closes its connections, which the others notice at once. One that is suspended, swapped
out or cut off by a broken network does not; jax detects this too, but ends the others with a C++ stack trace.
"""

import os
import sys
import threading
import time
from typing import Any

import jax
from jax._src import distributed

_FOLDER = "bitdiff/alive/"
_BEATS = 5  # heartbeats within the longest allowed silence


def start(seconds: float) -> None:
    """Starts the heartbeat of this process, and watches those of the others in the background.

    Args:
      seconds: how long another process may be silent before this one exits with code 3.
    """
    client = distributed.global_state.client
    if client is None or jax.process_count() == 1:
        return
    seen = dict.fromkeys((i for i in range(jax.process_count()) if i != jax.process_index()), time.monotonic())
    own = str(jax.process_index())
    threading.Thread(target=_beat, args=(client, own, seen, seconds / _BEATS), daemon=True).start()
    threading.Thread(target=_watch, args=(seen, seconds), daemon=True).start()


def _beat(client: Any, own: str, seen: dict[int, float], interval: float) -> None:
    """Updates this process's entry in jax's key-value store, and notes which of the others changed theirs."""
    values: dict[str, str] = {}
    for count in range(sys.maxsize):
        try:
            client.key_value_set(_FOLDER + own, str(count), allow_overwrite=True)
            for key, value in client.key_value_dir_get(_FOLDER):
                index = key.rpartition("/")[2]
                if index != own and values.get(index) != value:
                    values[index] = value
                    seen[int(index)] = time.monotonic()
        except Exception:  # the service of process 0 is gone or shutting down; `_watch` will notice its silence
            pass
        time.sleep(interval)


def _watch(seen: dict[int, float], seconds: float) -> None:
    """Ends this process once another has been silent for too long."""
    last = time.monotonic()
    while True:
        time.sleep(seconds / _BEATS)
        now = time.monotonic()
        if now - last > seconds / 2:  # this process itself was suspended
            for index in seen:
                seen[index] = now
        last = now
        silent = sorted(index for index, moment in seen.items() if now - moment > seconds)
        if silent:
            silent = [0] if 0 in silent else silent  # without process 0, nothing is known of the others
            names = ", ".join(map(str, silent))
            print(
                f"error: stopping, because process {names} has not responded for {seconds:g} s\n"
                "Start the run again with the same command to resume from its last checkpoint",
                file=sys.stderr,
                flush=True,
            )
            os._exit(3)
