"""The file ``.env`` next to the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.commands import configuration
from proxy.config.environment import read_env_file
from proxy.errors import ConfigError

CONFIG = """\
model_list:
  - {model_name: tts, litellm_params: {model: openai/tts-1, api_key: os.environ/TTS_KEY}}
general_settings: {master_key: os.environ/PROXY_MASTER_KEY}
"""
MASTER_KEY = "sk-5c1d9b7e3f2a48066d0e9c8b7a6f5e4d"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("X=1", "1"), ("X = 1 ", "1"), ("export X=1", "1"), ("X=", ""), ("X='a b'", "a b"), ('X="a b"', "a b"),
        ("X=a=b", "a=b"), ("X=a#b", "a#b"), ("X=a # note", "a"), ("X='a # b' # note", "a # b"), ("X=it's", "it's"),
        ("X=postgresql://u:p%40@h/d?a=b&c=d", "postgresql://u:p%40@h/d?a=b&c=d"), ("X=1\r", "1"), ("\ufeffX=1", "1"),
        ("# X=1", None), ("X", None), ("", None), ("=1", None), ("1X=1", None), ("X Y=1", None),
    ],
)  # fmt: skip
def test_lines(tmp_path: Path, line: str, value: str | None) -> None:
    path = tmp_path / ".env"
    path.write_text(f"{line}\nLAST=1\n", encoding="utf-8", newline="")
    assert read_env_file(path) == ({} if value is None else {"X": value}) | {"LAST": "1"}


def test_no_file_and_a_folder_of_that_name_say_nothing(tmp_path: Path) -> None:
    assert read_env_file(tmp_path / ".env") == {}
    (tmp_path / ".env").mkdir()  # some keep a virtual environment there
    assert read_env_file(tmp_path / ".env") == {}
    assert read_env_file(tmp_path / "none" / ".env") == {}


def test_the_configuration_reads_it_and_the_process_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    (tmp_path / ".env").write_text(f"TTS_KEY=sk-file\nPROXY_MASTER_KEY={MASTER_KEY}\nAUDIO_PROXY_DATA=data\n")
    for environ, key in (({}, "sk-file"), ({"TTS_KEY": " "}, "sk-file"), ({"TTS_KEY": "sk-process"}, "sk-process")):
        config = configuration.load(path, environ)
        api_key = config.deployments[0].api_key
        assert api_key
        assert api_key.get_secret_value() == key
        assert config.database_url == f"sqlite:///{tmp_path}/data/audio-proxy.db"


def test_a_file_that_cannot_be_read_is_named_if_something_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    (tmp_path / ".env").write_bytes(b"TTS_KEY=\xff\n")
    with pytest.raises(ConfigError) as raised:
        configuration.load(path, {"PROXY_MASTER_KEY": MASTER_KEY})
    assert raised.value.problems == [
        f"{path}:2: variable 'TTS_KEY' is not set",
        f"{tmp_path}/.env: cannot be read: it is not UTF-8",
    ]
    configuration.load(path, {"PROXY_MASTER_KEY": MASTER_KEY, "TTS_KEY": "sk-x"})


def test_what_is_missing_everywhere_says_where_it_may_stand(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    with pytest.raises(ConfigError) as raised:
        configuration.load(path, {"PROXY_MASTER_KEY": MASTER_KEY})
    assert raised.value.problems == [
        f"{path}:2: variable 'TTS_KEY' is not set",
        f"Variables are read from the environment, and from {tmp_path}/.env if they are missing there.",
    ]
