"""Sends 100,000 calls to two workers, and checks that the ledger contains every completed one exactly once.

python ledger.py [--calls 100000] [--workers 2] [--database-url postgresql://…]

Needs the same programs as run_peers.py. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

from load import HOST, KEY, speech
from peers import HERE, upstream

from proxy.storage.database import Database

PORT = 8151
CONNECTIONS = 32


async def client(names: count[int], calls: int, completed: list[str], failed: list[str]) -> None:
    """Sends calls over one keep-alive connection. An answer is complete when its last byte has arrived."""
    request = speech()
    reader, writer = await asyncio.open_connection(HOST, PORT)
    for number in names:
        if number >= calls:
            break
        name = f"bench.{number}"
        head = f"POST {request.path} HTTP/1.1\r\nhost: {HOST}\r\nx-request-id: {name}\r\n"
        head += f"authorization: Bearer {KEY}\r\n"
        head += f"content-type: {request.content_type}\r\ncontent-length: {len(request.body)}\r\n\r\n"
        writer.write(head.encode() + request.body)
        answer = await reader.readuntil(b"\r\n\r\n")
        while size := int((await reader.readline()).strip() or b"0", 16):
            await reader.readexactly(size + 2)
        await reader.readexactly(2)
        (completed if answer.startswith(b"HTTP/1.1 200") else failed).append(name)
    writer.close()


async def rows(url: str) -> Counter[str]:
    database = Database(url)
    table = "calls" if database.is_sqlite else "audio_proxy.calls"
    async with database.transaction() as connection:
        found = (await connection.exec_driver_sql(f"SELECT request_id FROM {table}")).scalars().all()
    await database.aclose()
    return Counter(found)


async def load(calls: int) -> tuple[list[str], list[str]]:
    completed: list[str] = []
    failed: list[str] = []
    names = count()
    await asyncio.gather(*(client(names, calls, completed, failed) for _ in range(CONNECTIONS)))
    return completed, failed


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--database-url")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ledger-"))
    url = options.database_url or f"sqlite:///{folder / 'audio-proxy.db'}"
    text = (HERE / "audio-proxy.yaml").read_text()
    (folder / "config.yaml").write_text(f"{text}  database_url: {url}\n  ledger_dir: {folder / 'ledger'}\n")
    command = [sys.executable, "-m", "proxy", "--config", str(folder / "config.yaml"), "--host", HOST]
    with upstream(), open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(PORT), "--workers", str(options.workers)], stdout=subprocess.PIPE, stderr=log
        )
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        completed, failed = asyncio.run(load(options.calls))
        seconds = time.monotonic() - began
        process.terminate()
        status = process.wait()
    found = asyncio.run(rows(url))
    print(json.dumps({
        "calls": options.calls, "workers": options.workers, "seconds": round(seconds, 1), "exit_status": status,
        "completed": len(completed), "failed": len(failed), "rows": sum(found.values()),
        "lost": sum(found[name] == 0 for name in completed), "doubled": sum(times > 1 for times in found.values()),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
