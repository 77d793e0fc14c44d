"""docs/security.md claims nothing that no test shows."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)", PAGE)
CLAIMS = "| attack | what happens | shown by |"


def test_each_test_that_the_page_names_is_there() -> None:
    gone = [
        name
        for name, file in NAMED
        if not re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
    ]
    assert gone == []
    assert len(NAMED) == PAGE.count("[test_")


def test_each_claim_names_a_test() -> None:
    tables = [table.partition("\n\n")[0].splitlines()[2:] for table in PAGE.split(CLAIMS)[1:]]
    rows = [row for table in tables for row in table]
    assert len(rows) > 50
    assert [row for row in rows if "[test_" not in row] == []
