"""Run the commands of the README and of the page that continues it, as printed, in a copy of the checkout.

A code block is run when the line before it is ``<!-- run: NAME -->``. The block named ``serve`` starts the server,
which ends when all others have run; ``tests`` is left to ``.ci/run``; any other must succeed, print something, and no
error. The commands come from PATH, so start this inside the virtual environment that they are for.

Usage: python .ci/readme.py FOLDER; the copy is made inside FOLDER.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: In the order in which people read them.
PAGES = ("README.md", "docs/getting-started.md")
MARK = "<!-- run:"
BLOCK = re.compile(r"^<!-- run: (?P<name>\w+) -->\n+```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
#: By language: the block's text becomes the last argument.
BASH = ("bash", "-euo", "pipefail", "-c")
INTERPRETERS = {
    "bash": BASH,
    "sh": BASH,
    "python": ("python", "-c"),
    "js": ("node", "--input-type=module", "-e"),
}
#: What the pages tell to install before a block of that name.
FIRST = {"python": "pip install openai", "node": "npm install openai"}
START_SECONDS = 600
RUN_SECONDS = 300
STOP_SECONDS = 40


@dataclass(frozen=True)
class Block:
    """A marked code block."""

    name: str
    language: str
    text: str

    @property
    def command(self) -> list[str]:
        return [*INTERPRETERS[self.language], self.text]


def blocks(markdown: str) -> list[Block]:
    """In the document's order. Raises ValueError where a mark is not understood, or nothing serves."""
    found = [Block(**match.groupdict()) for match in BLOCK.finditer(markdown)]
    if len(found) != markdown.count(MARK):
        raise ValueError("a mark is not followed by a code block with a language")
    for block in found:
        if block.language not in INTERPRETERS:
            raise ValueError(f"cannot run a block of {block.language}")
        if f"`{FIRST.get(block.name, '')}`" not in markdown and block.name in FIRST:
            raise ValueError(f"block {block.name} wants '{FIRST[block.name]}', which the pages do not say")
    if "serve" not in [block.name for block in found]:
        raise ValueError("no block is named serve")
    return found


@contextlib.contextmanager
def serving(block: Block, folder: Path, log: Path) -> Iterator[None]:
    """The server, from its RUNNING line on; its whole process group ends with the block. Raises RuntimeError."""
    with log.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603
            block.command, cwd=folder, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait_for_running(process, log)
        yield
    except BaseException:
        print(f"-- the server said:\n{log.read_text(errors='replace')}", file=sys.stderr)
        raise
    finally:
        _end(process)


def _wait_for_running(process: subprocess.Popen[bytes], log: Path) -> None:
    limit = time.monotonic() + START_SECONDS
    while not re.search(r"^RUNNING on ", log.read_text(errors="replace"), re.MULTILINE):
        if process.poll() is not None or time.monotonic() > limit:
            raise RuntimeError(f"the server did not start (exit status {process.poll()})")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the group; raises RuntimeError where SIGKILL was needed."""
    limit = time.monotonic() + STOP_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < limit:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise RuntimeError("the server did not end on SIGTERM")


def run(block: Block, folder: Path) -> None:
    """Raises CalledProcessError, TimeoutExpired or RuntimeError where the block does not keep its promise."""
    if block.name in FIRST:
        subprocess.run([*BASH, FIRST[block.name]], cwd=folder, check=True, timeout=RUN_SECONDS)  # noqa: S603
    done = subprocess.run(  # noqa: S603
        block.command, cwd=folder, check=True, timeout=RUN_SECONDS, stdout=subprocess.PIPE, text=True
    )
    print(f"-- prints:\n{done.stdout}", flush=True)
    if not done.stdout.strip() or '{"error"' in done.stdout:
        raise RuntimeError(f"block {block.name} prints an error, or nothing")


def main(folder: Path) -> None:
    copy = folder / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "node_modules"))
    with contextlib.ExitStack() as stack:
        for block in blocks("\n".join((copy / page).read_text(encoding="utf-8") for page in PAGES)):
            if block.name == "tests":
                continue
            if block.language == "js" and not shutil.which("npm"):
                print(f"-- {block.name}: NOT RUN, there is no npm here")
                continue
            print(f"-- {block.name}:\n{block.text}", end="", flush=True)
            if block.name == "serve":
                stack.enter_context(serving(block, copy, folder / "server.log"))
            else:
                run(block, copy)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
