"""The command line: ``audio-proxy [serve|check|demo|init|keys|prices|usage|calls]``."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import partial
from glob import glob
from typing import NoReturn

from proxy.commands import configuration
from proxy.config import Config, describe
from proxy.config.problems import suggestion
from proxy.errors import ConfigError
from proxy.providers import registry, shutdowns

CONFIG_VARIABLE = "AUDIO_PROXY_CONFIG"
DEFAULT_CONFIG = "config.yaml"
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*")
PERIODS = ("today", "yesterday", "this-month", "last-month")
USAGE_FILTERS = ("key", "user", "team", "end_user", "tag", "model", "vendor", "deployment")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 on success, 1 if serving failed, 2 for errors on the command line or in the configuration.

    130 if Ctrl-C arrived before the server handled signals; 141 if the reader of the output ended early.
    """
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever read the output, such as `head`, has ended
        _discard_output()
        return 128 + signal.SIGPIPE


def _run(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _discard_output() -> None:
    """Python flushes both streams when it exits, and would report the broken pipe then."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed command line. The default command is ``serve``. Raises SystemExit if it is invalid."""
    words = list(arguments)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "serve")
    return _parser().parse_args(words)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audio-proxy", description="An OpenAI-compatible proxy for audio.")
    parser.add_argument("--version", action="version", version=f"audio-proxy {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve the API (the default command)")
    _add_config(serve)
    serve.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s; use :: for IPv6)")  # noqa: S104
    serve.add_argument(
        "--port", type=_port, default=4000, help="port to listen on (default: %(default)s; 0 picks a free one)"
    )
    serve.add_argument("--workers", type=_positive, default=1, help="number of worker processes (default: %(default)s)")
    serve.add_argument("--ssl-certfile", help="certificate file (PEM); enables HTTPS")
    serve.add_argument(
        "--ssl-keyfile", help="private key file (PEM); not needed if the certificate file contains the key"
    )
    serve.add_argument(
        "--root-path",
        type=_root_path,
        default="",
        help="path prefix under which a reverse proxy serves the API, such as /audio",
    )
    serve.add_argument(
        "--forwarded-allow-ips",
        help="addresses of reverse proxies whose X-Forwarded-* headers are trusted, separated by commas",
    )
    serve.set_defaults(command=partial(_serve, serve.error))

    demo = commands.add_parser("demo", help="speak and transcribe a sentence with the local engines; needs no key")
    demo.add_argument("--once", action="store_true", help="stop after the sentence instead of continuing to serve")
    demo.set_defaults(command=_demo)

    init = commands.add_parser("init", help="write a configuration for the vendors whose keys are in the environment")
    init.add_argument("--config", default=DEFAULT_CONFIG, help="file to write (default: %(default)s)")
    init.add_argument("--force", action="store_true", help="overwrite an existing file")
    init.set_defaults(command=_init)

    prices = commands.add_parser("prices", help="print the price table that bills are based on")
    prices.add_argument(
        "model", nargs="?", metavar="MODEL", help="only this model, such as openai/tts-1, with the source of its prices"
    )
    prices.set_defaults(command=_prices)

    _add_keys(commands.add_parser("keys", help="create, list, revoke or import virtual keys in the database"))
    _add_usage(commands.add_parser("usage", help="print who used what and what it cost"))
    _add_calls(commands.add_parser("calls", help="list the newest calls, or find the error of one"))

    check = commands.add_parser("check", help="check a configuration: list its mistakes, or what it serves")
    _add_config(check)
    check.set_defaults(command=_check)
    return parser


def _add_keys(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    create = actions.add_parser("create", help="create a key and print it; it is not shown again")
    create.add_argument("--alias", help="a name for the key")
    create.add_argument("--models", type=_list, help="models that it may use, such as tts,whisper (default: all)")
    create.add_argument("--duration", help="how long it is valid, such as 30m, 24h or 30d (default: forever)")
    create.add_argument("--user", help="ID of the user to whom it belongs")
    create.add_argument("--team", help="ID of the team to which it belongs")
    create.add_argument("--tags", type=_list, help="tags of all its calls, such as batch,eu")
    create.add_argument("--guardrails", type=_list, help="guardrails that check all its calls, such as no-cards")
    create.add_argument("--metadata", help="a JSON object to store with the key")
    create.set_defaults(command=_keys_create)

    show = actions.add_parser("list", help="list all keys")
    show.add_argument("--json", action="store_true", help="as JSON")
    show.set_defaults(command=_keys_list)

    revoke = actions.add_parser("revoke", help="revoke keys (takes effect on running servers within 2 s)")
    revoke.add_argument("key", nargs="+", metavar="KEY", help="its alias, its ID, or the key itself")
    revoke.set_defaults(command=_keys_revoke)

    imports = actions.add_parser("import", help="import LiteLLM's keys; clients keep using them")
    imports.add_argument("file", metavar="FILE", help="an export of LiteLLM_VerificationToken, CSV or JSON")
    imports.add_argument(
        "--without-limits", action="store_true", help="import keys without their limits that are not supported here"
    )
    imports.add_argument("--dry-run", action="store_true", help="only print what would be done")
    imports.set_defaults(command=_keys_import)
    for action in (create, show, revoke, imports):
        _add_config(action)


def _add_usage(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    periods = parser.add_mutually_exclusive_group()
    for period in PERIODS:
        help = f"only calls of {period.replace('-', ' ')} (UTC)"
        periods.add_argument(f"--{period}", dest="period", action="store_const", const=period, help=help)
    parser.add_argument("--start", help="a date or timestamp (UTC), such as 2026-11-01")
    parser.add_argument("--end", help="a date (inclusive) or a timestamp (exclusive)")
    parser.add_argument("--group-by", help="one or more of day,key,user,team,end_user,tag,model,vendor,deployment")
    for name in USAGE_FILTERS:
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"only calls of this {name.replace('_', ' ')}")
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="default: %(default)s")
    parser.set_defaults(command=partial(_usage, parser.error))


def _add_calls(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument("--request-id", metavar="ID", help="everything about the call with this x-request-id")
    parser.add_argument("--failed", action="store_true", help="only calls that failed")
    parser.add_argument("--follow", "-f", action="store_true", help="continue with new calls, until Ctrl-C")
    parser.add_argument(
        "--since", metavar="TIME", help="a date or timestamp (UTC), or a time ago such as 30m, 2h or 7d"
    )
    for name in USAGE_FILTERS:
        parser.add_argument(f"--{name.replace('_', '-')}", help=f"only calls of this {name.replace('_', ' ')}")
    parser.add_argument(
        "--limit", "-n", type=_positive, default=20, help="at most so many calls (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.set_defaults(command=_calls)


def _list(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", help=f"YAML file (default: ${CONFIG_VARIABLE}, else ./{DEFAULT_CONFIG})")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be a number of 1 or more")
    return int(text)


def _root_path(text: str) -> str:
    """Removes a trailing slash: the paths of requests begin with one."""
    path = text.rstrip("/")
    if not _ROOT_PATH.fullmatch(path):
        raise argparse.ArgumentTypeError("must be a path that begins with /, such as /audio")
    return path


def _version() -> str:
    from importlib.metadata import version

    return version("audio-proxy")


def _load(options: argparse.Namespace) -> Config:
    """The configuration. Raises ConfigError with all its problems."""
    path = options.config or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG
    _check_exists(path, options)
    config = configuration.load(path, os.environ)
    configuration.check(config)
    return config


def _check_exists(path: str, options: argparse.Namespace) -> None:
    """Raises ConfigError with what a newcomer can do. A file that cannot be read is reported when it is loaded."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        if options.config:
            hint = ""
        elif os.environ.get(CONFIG_VARIABLE):
            hint = f" ${CONFIG_VARIABLE} names it."
        else:
            hint = f" Set --config or ${CONFIG_VARIABLE}, or begin with one of these:"
        folder, name = os.path.split(path)
        near = suggestion(name, glob("*.y*ml", root_dir=folder or "."))
        option = "" if path == DEFAULT_CONFIG else f" --config {shlex.quote(path)}"
        raise ConfigError(
            [
                f"{path}: no such file{near or '.'}{hint}",
                f"  audio-proxy init{option}   # writes it, for the vendors whose keys are in your environment",
                "  audio-proxy demo   # speaks and transcribes a sentence; needs no configuration and no key",
            ]
        ) from None
    except OSError:
        pass


def _warn(*warnings: str) -> None:
    """Never fails: a full disk must not stop the server."""
    with contextlib.suppress(OSError):
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)


def _serve(refuse: Callable[[str], NoReturn], options: argparse.Namespace) -> int:
    from proxy import serving

    if options.ssl_keyfile and not options.ssl_certfile:
        refuse("--ssl-keyfile needs --ssl-certfile")
    file = serving.ConfigFile(partial(_load, options))
    _warn(*file.config.warnings)
    if ending := shutdowns.warning(shutdowns.shutdowns(file.config, _today())):
        _warn(ending)
    try:
        return serving.serve(
            file,
            serving.ServerOptions(
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
        hint = "; choose another port with --port" if error.errno == errno.EADDRINUSE else ""
        reason = error.strerror or error
        print(f"audio-proxy: cannot serve on {options.host}:{options.port}: {reason}{hint}", file=sys.stderr)
        return 1


def _today() -> date:
    return datetime.now(UTC).date()


def _demo(options: argparse.Namespace) -> int:
    from proxy.commands import demo

    return demo.run(once=options.once)


def _init(options: argparse.Namespace) -> int:
    from proxy.commands import init

    return init.run(options.config, force=options.force)


def _prices(options: argparse.Namespace) -> int:
    from proxy.commands import prices

    return prices.run(options.model)


def _keys_create(options: argparse.Namespace) -> int:
    from proxy.commands import keys

    fields = {
        "key_alias": options.alias,
        "models": options.models,
        "duration": options.duration,
        "user_id": options.user,
        "team_id": options.team,
        "tags": options.tags,
        "guardrails": options.guardrails,
    }
    return keys.create(_load(options), fields, options.metadata)


def _keys_list(options: argparse.Namespace) -> int:
    from proxy.commands import keys

    return keys.show(_load(options), as_json=options.json)


def _keys_revoke(options: argparse.Namespace) -> int:
    from proxy.commands import keys

    return keys.revoke(_load(options), options.key)


def _keys_import(options: argparse.Namespace) -> int:
    from proxy.commands import keys

    return keys.import_keys(
        _load(options), options.file, without_limits=options.without_limits, dry_run=options.dry_run
    )


def _usage(refuse: Callable[[str], NoReturn], options: argparse.Namespace) -> int:
    from proxy.commands import usage

    if options.period:
        if options.start or options.end:
            refuse(f"--{options.period} cannot be combined with --start or --end")
        options.start, options.end = usage.dates(options.period, _today())
    equal = {name: value for name in USAGE_FILTERS if (value := getattr(options, name))}
    return usage.run(
        _load(options),
        start=options.start,
        end=options.end,
        group_by=options.group_by,
        equal=equal,
        format=options.format,
    )


def _calls(options: argparse.Namespace) -> int:
    from proxy.commands import calls

    query = calls.Query(
        request_id=options.request_id,
        failed=options.failed,
        since=options.since,
        equal={name: value for name in USAGE_FILTERS if (value := getattr(options, name))},
        limit=min(options.limit, calls.MAX_CALLS),
    )
    return calls.run(_load(options), query, follow=options.follow, as_json=options.json)


def _check(options: argparse.Namespace) -> int:
    import asyncio

    from proxy.accounting import doubtful_keys
    from proxy.storage.database import Unavailable
    from proxy.storage.running import database_place

    config = _load(options)
    _warn(*config.warnings)
    rows = [
        (
            row.group,
            row.mode,
            row.deployment,
            row.host or ("(built in)" if row.deployment.startswith("local/") else "(vendor's own)"),
            "yes" if row.key else "none",
            "" if row.max_file_size_mb is None else f"{row.max_file_size_mb:g}",
        )
        for row in describe(config, lambda deployment: registry.has_key(deployment, config.environment))
    ]
    rows.insert(0, ("model_name", "mode", "deployment", "server", "key", "max_file_size_mb"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for shutdown in shutdowns.shutdowns(config, _today()):
        print(f"{shutdown.deployment.where}: {shutdown}")
    print(f"\nVirtual keys and calls are stored in {database_place(config)}")
    try:
        if (doubtful := asyncio.run(doubtful_keys.warning(config))) is not None:
            _warn(doubtful)
    except Unavailable as error:
        print(f"It does not answer at the moment ({error.detail}); its keys were not looked at.")
    return 0
