from colonnade.replica.progress import LEAST, Progress


def test_idle_never_stalls():
    assert not Progress(30, 0).stalled(1e6)


def test_work_without_a_step_stalls():
    progress = Progress(30, 0)
    progress.carries(1, 100)
    assert not progress.stalled(100 + LEAST)
    assert progress.stalled(100.1 + LEAST)
    progress.stepped(1, 106)
    assert not progress.stalled(106)
    progress.carries(0, 107)
    assert not progress.stalled(1e6)


def test_the_same_step_told_twice_is_no_progress():
    progress = Progress(30, 0)
    progress.carries(1, 0)
    progress.stepped(1, 1)
    progress.stepped(1, 50)
    assert progress.quiet(51) == 50


def test_slow_steps_are_waited_for_within_the_limit():
    progress = Progress(30, 0)
    progress.carries(1, 0)
    progress.stepped(1, 2)
    assert progress.threshold == 20
    progress.stepped(2, 10)
    assert progress.threshold == 30
    for step in range(1000):
        progress.stepped(3 + step, 10 + 0.01 * step)
    assert progress.threshold == LEAST


def test_steps_without_work_teach_nothing():
    progress = Progress(30, 0)
    progress.stepped(1, 1000)
    assert progress.threshold == LEAST
