"""A soak in small: a few hundred runs, most of which go wrong, leave nothing behind."""

from benchmarks import soak

ENDS = {"answered", "left by its caller", "TimedOut"}  # on a busy machine, 300 runs may all time out


def test_traffic_that_goes_wrong_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(soak, "LIMITS", soak.Timeouts(first_event=0.2, idle=0.2))
    report = soak.run(50, lambda tally: tally.runs < 300 or not set(tally.ends) >= ENDS, lambda tally: tally.runs > 100)
    assert (report.tally.untyped, report.sockets, report.tasks) == ([], 0, 0)
    assert report.tally.runs >= 300
    assert set(report.tally.ends) >= ENDS
