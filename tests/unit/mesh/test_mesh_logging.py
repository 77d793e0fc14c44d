import json
import subprocess
import sys

SCRIPT = """
import logging
import structlog
from mesh.logging import configure_logging
configure_logging("test")
structlog.get_logger().info("one\\nline", detail={"a": 1})
structlog.get_logger().debug("too small")
logging.getLogger("library").warning("from a %s", "library")
logging.getLogger("library").info("too small")
try:
    1 / 0
except ZeroDivisionError:
    structlog.get_logger().exception("broken")
"""


def test_each_line_on_standard_error_is_a_json_object_that_names_the_service() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    own, foreign, broken = map(json.loads, done.stderr.splitlines())
    assert (own["event"], own["service"], own["level"], own["detail"]) == ("one\nline", "test", "info", {"a": 1})
    assert (foreign["event"], foreign["service"], foreign["level"]) == ("from a library", "test", "warning")
    assert "ZeroDivisionError" in broken["exception"]
    assert all(line["timestamp"].endswith("Z") for line in (own, foreign, broken))
