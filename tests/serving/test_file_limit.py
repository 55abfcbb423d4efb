"""The limit on open files, compared with the number of streams that the configuration allows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import standard_config, start
from tests.fakes.upstream import Upstream

#: Lowers the hard limit, too, then becomes the server.
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({0}, {0}))
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("limit", "warned"), [(299, 1), (300, 0)])
def test_one_warning_if_the_streams_need_more_open_files(
    upstream: Upstream, tmp_path: Path, limit: int, warned: int, workers: str
) -> None:
    settings = standard_config(upstream.url, max_concurrent_streams=100)
    (tmp_path / "config.json").write_text(json.dumps(settings))
    args = ["-m", "proxy", "--config", str(tmp_path / "config.json"), "--host", "127.0.0.1", "--port", "0"]
    line = [sys.executable, "-c", LIMITED.format(limit), sys.executable, *args, "--workers", workers]
    server = start(line, tmp_path)
    assert server.stop() == 0
    assert server.log().count("too few open files") == warned
