"""Messages before and after long silent operations, and the clock of progress bars."""

import time

from bitdiff.runtime import console


def test_a_silent_while_is_announced_with_the_time_it_took(capsys):
    with console.announced("compiling the step"):
        assert capsys.readouterr().err == "compiling the step ...\n"
        time.sleep(console._SILENT_SECONDS + 0.05)
    assert capsys.readouterr().err.startswith("compiling the step took 1.")
    with console.announced("something quick"):
        pass
    assert "took" not in capsys.readouterr().err
    with console.announced("another process's", shown=False):
        pass
    assert not capsys.readouterr().err


def test_the_remaining_time_leaves_out_what_came_before_the_clock():
    bar = console.progress_bar("training", "step", total=101)
    time.sleep(1.0)  # the first step compiles
    bar.update()
    bar.unpause()
    for _ in range(10):
        time.sleep(0.01)
        bar.update()
    elapsed = bar.format_dict["elapsed"]
    bar.close()
    assert 0.05 < elapsed < 0.9
