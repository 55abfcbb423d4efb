"""The environment variables that a configuration may use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Next to the configuration. Docker (``--env-file``), Compose and systemd (``EnvironmentFile``) read the same file.
ENV_FILE = ".env"
_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_QUOTED = re.compile(r"""(["'])(.*)\1(?:\s+#.*)?""")
_COMMENT = re.compile(r"(?:^|\s+)#.*")


class Environment(Mapping[str, str]):
    """The configuration's own ``environment_variables``, then those of the process.

    An empty variable counts as unset. The representation never shows a value.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name: value for name, value in values.items() if value.strip()}

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Environment({len(self)} variables)"


def read_env_file(path: Path) -> dict[str, str]:
    """The variables in lines ``NAME=value``; all other lines, such as comments, say nothing.

    Empty if there is no such file. Raises OSError or UnicodeDecodeError if it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return {}
    matches = (_LINE.fullmatch(line) for line in text.splitlines())
    return {match[1]: _value(match[2]) for match in matches if match}


def _value(text: str) -> str:
    """Without quotes or a comment."""
    quoted = _QUOTED.fullmatch(text)
    return quoted[2] if quoted else _COMMENT.sub("", text)
