import json

import pytest

from bench.__main__ import main


def test_a_measurement_prints_its_rows_as_one_object(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["payments.capture.sqlite", "--rounds", "1", "--calls", "64", "--json"]) == 0
    out, progress = capfd.readouterr()
    printed = json.loads(out)
    assert (printed["rounds"], printed["calls"]) == (1, 64)
    assert [(row["name"], row["unit"]) for row in printed["rows"]] == [
        ("payments.capture.sqlite", "payments/s"),
        ("payments.capture.sqlite", "CPU µs/payment"),
    ]
    for row in printed["rows"]:
        assert row["value"]["median"] > 0
        assert row["ratio"]["median"] == pytest.approx(row["value"]["median"] / row["baseline"]["median"])
    assert "payments.capture.sqlite: pair 1 of 1" in progress


def test_a_proxy_is_measured_beside_the_gateway(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway.unary", "gateway.latency", "--rounds", "1", "--calls", "32"]) == 0
    out, _ = capfd.readouterr()
    title, *rows = out.splitlines()
    assert title.split() == ["unit", "Sekisho", "baseline", "ratio"]
    assert [row.partition("  ")[0] for row in rows] == ["gateway.unary", "gateway.latency.p50", "gateway.latency.p99"]


def test_a_name_that_there_is_not_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["gateway", "nothing"])
    assert refused.value.code == 2
    assert "there is only gateway.unary, gateway.large" in capfd.readouterr().err
