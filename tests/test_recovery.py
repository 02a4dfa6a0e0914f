"""Sixteen ways in which a provider fails, and four kinds of caller, with time scaled down.

Order and counts are looked at, never times: `python -m benchmarks.recovery` measures those.
"""

import pytest

from benchmarks import recovery

FASTER = recovery.Scaled(25)


@pytest.mark.parametrize("kind", recovery.KINDS)
@pytest.mark.parametrize("scenario", recovery.SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_failure_is_repaired_or_told(scenario, kind):
    assert (await recovery.play(scenario, kind, FASTER)).wrong == ()


async def test_an_outage_is_passed_by_and_returned_from():
    assert (await recovery.play_outage("collect", FASTER)).wrong == ()


def test_the_scorecard_has_sixteen():
    assert len(recovery.SCENARIOS) + 1 == 16
    assert sorted([*(scenario.number for scenario in recovery.SCENARIOS), 15]) == list(range(1, 17))
