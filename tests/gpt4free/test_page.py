"""The page about gpt4free says what is true: each of its examples runs, alone, in front of Koala's sandbox."""

import re
from pathlib import Path

import pytest
from packages import forget
from providerkit_koala import Koala, plugin

import providerkit

PAGE = (Path(__file__).parents[2] / "docs" / "gpt4free.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def _koala_is_its_sandbox(monkeypatch):
    with providerkit.sandbox("koala") as base_url:
        monkeypatch.setattr(plugin, "ORIGIN", base_url)
        monkeypatch.setattr(Koala, "api_endpoint", f"{base_url}/api/gpt/")
        forget()  # what koala said of itself before
        yield
    forget()


@pytest.mark.usefixtures("_koala_is_its_sandbox")
@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_runs(example, capsys):
    exec(compile(example, "an example", "exec"), {"__name__": "__main__"})  # noqa: S102 - it is ours
    shown = capsys.readouterr()
    assert "This is Koala's sandbox." in shown.out
    assert shown.err == ""


def test_the_page_has_examples():
    assert len(EXAMPLES) == 6
