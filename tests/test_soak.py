"""A soak in small: a few hundred runs, most of which go wrong, leave nothing behind."""

from benchmarks import soak


def test_traffic_that_goes_wrong_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(soak, "LIMITS", soak.Timeouts(first_event=0.2, idle=0.2))
    report = soak.run(50, lambda tally: tally.runs < 300, lambda tally: tally.runs > 100)
    assert (report.tally.untyped, report.sockets, report.tasks) == ([], 0, 0)
    assert report.tally.runs >= 300
    assert {"answered", "left by its caller", "TimedOut"} <= set(report.tally.ends)
