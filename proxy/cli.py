"""The command line: ``audio-proxy [serve|check|demo|init]``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from proxy.config import Config, describe, load
from proxy.errors import ConfigError
from proxy.providers import registry
from proxy.routing import checks

CONFIG_VARIABLE = "AUDIO_PROXY_CONFIG"
DEFAULT_CONFIG = "config.yaml"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 in good order, 1 where serving failed, 2 for a command line or a configuration with mistakes."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help", "--version")):
        given.insert(0, "serve")
    options = _parser().parse_args(given)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audio-proxy", description="An OpenAI-compatible proxy for audio.")
    parser.add_argument("--version", action="version", version=f"audio-proxy {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve the API (the default command)")
    _add_config(serve)
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s; :: for IPv6)")  # noqa: S104
    serve.add_argument("--port", type=_port, default=4000, help="default: %(default)s; 0 takes a free one")
    serve.add_argument("--workers", type=_positive, default=1, help="processes (default: %(default)s)")
    serve.add_argument("--ssl-certfile", help="certificate (PEM); serves HTTPS")
    serve.add_argument("--ssl-keyfile", help="its private key (PEM)")
    serve.add_argument("--root-path", default="", help="path under which a reverse proxy serves this one")
    serve.add_argument(
        "--forwarded-allow-ips", help="addresses of reverse proxies whose X-Forwarded-* headers are believed"
    )
    serve.set_defaults(command=partial(_serve, serve.error))

    demo = commands.add_parser("demo", help="speak and transcribe a sentence with the local engines; needs no key")
    demo.add_argument("--once", action="store_true", help="end after the sentence instead of serving on")
    demo.set_defaults(command=_demo)

    init = commands.add_parser("init", help="write a configuration for the vendors whose keys are in the environment")
    init.add_argument("--config", default=DEFAULT_CONFIG, help="file to write (default: %(default)s)")
    init.add_argument("--force", action="store_true", help="overwrite it")
    init.set_defaults(command=_init)

    check = commands.add_parser("check", help="say what is wrong with a configuration, or what it serves")
    _add_config(check)
    check.set_defaults(command=_check)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", help=f"YAML file (default: ${CONFIG_VARIABLE}, else ./{DEFAULT_CONFIG})")


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65_535:
        raise argparse.ArgumentTypeError("must be from 0 to 65535")
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _version() -> str:
    from importlib.metadata import version

    return version("audio-proxy")


def _load(options: argparse.Namespace) -> Config:
    """The configuration; raises ConfigError with everything known that is wrong with it."""
    path = options.config or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG
    if not Path(path).exists():
        hint = "" if options.config else f" Name one with --config, or in ${CONFIG_VARIABLE}."
        raise ConfigError([f"{path}: no such file.{hint}"])
    config = load(path, vendors=registry.VENDORS, infer_mode=registry.infer_mode, environ=os.environ)
    problems = [*registry.problems(config), *checks.problems(config)]
    if problems:
        raise ConfigError(problems)
    return config


def _warn(config: Config) -> None:
    for warning in config.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _serve(refuse: Callable[[str], NoReturn], options: argparse.Namespace) -> int:
    from proxy import serving

    if options.ssl_keyfile and not options.ssl_certfile:
        refuse("--ssl-keyfile needs --ssl-certfile")
    file = serving.ConfigFile(partial(_load, options))
    _warn(file.config)
    try:
        return serving.serve(
            file,
            serving.Options(
                host=options.host,
                port=options.port,
                workers=options.workers,
                ssl_certfile=options.ssl_certfile,
                ssl_keyfile=options.ssl_keyfile,
                root_path=options.root_path,
                forwarded_allow_ips=options.forwarded_allow_ips,
            ),
        )
    except OSError as error:
        print(f"audio-proxy: cannot serve on {options.host}:{options.port}: {error}", file=sys.stderr)
        return 1


def _demo(options: argparse.Namespace) -> int:
    from proxy.commands import demo

    return demo.run(once=options.once)


def _init(options: argparse.Namespace) -> int:
    from proxy.commands import init

    return init.run(options.config, force=options.force)


def _check(options: argparse.Namespace) -> int:
    config = _load(options)
    _warn(config)
    rows = [
        (
            row.group,
            row.mode,
            row.deployment,
            row.host or "(vendor's own)",
            "yes" if row.key else "no",
            "" if row.max_file_size_mb is None else f"{row.max_file_size_mb:g}",
        )
        for row in describe(config, lambda deployment: registry.has_key(deployment, config.environment))
    ]
    rows.insert(0, ("model_name", "mode", "deployment", "server", "key", "max_file_size_mb"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0
