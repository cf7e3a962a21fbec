# SPDX-License-Identifier: Apache-2.0
"""The command `zuul-rest`. Each subcommand imports what it needs, so that the others start fast."""

from __future__ import annotations

import argparse
import logging
import logging.config
import os
import re
import sys
import time
from typing import NoReturn
from urllib.parse import urlsplit

from zuul.web.settings import PLACES, ConfigError, Settings, Web, read

SANDBOX_TOKEN_SECONDS = 86400


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand. Returns the exit status: 0, 1 for a failure, 2 for a wrong configuration or call."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except ConfigError as error:
        print(f"zuul-rest: {_without_tokens(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _without_tokens(text: str) -> str:
    """What is said of a call may repeat its arguments, but no token that got among them."""
    return re.sub(r"eyJ[\w.-]{8,}", "(a token)", text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(_without_tokens(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="zuul-rest", description="The REST tier for Zuul and Nodepool.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="serve a Zuul, in place of zuul-web")
    _add_configuration(serve)
    serve.add_argument("--paste", metavar="FILE", help="compose the application from this file instead of the default")
    serve.add_argument("-d", "--debug", action="store_true", help="log everything")
    serve.set_defaults(run=_serve)

    streamer = commands.add_parser("streamer", help="serve live logs and events alone, beside a WSGI server")
    _add_configuration(streamer)
    streamer.add_argument("-d", "--debug", action="store_true", help="log everything")
    streamer.set_defaults(run=_streamer)

    sandbox = commands.add_parser("sandbox", help="a complete system with a simulated Zuul, to try things out")
    sandbox.add_argument("--port", type=int, default=9000, help="of the web server (%(default)s; 0: any)")
    sandbox.add_argument("--address", default="127.0.0.1", help="to listen on (%(default)s)")
    sandbox.add_argument("--scenario", metavar="FILE", help="a YAML file that describes the simulated installation")
    sandbox.add_argument("--items", type=int, help="about how many changes are in its pipelines")
    sandbox.add_argument(
        "--speed", type=float, default=1.0, help="how much faster than real time it runs (%(default)s)"
    )
    sandbox.add_argument(
        "--history", type=int, default=20_000, metavar="BUILDS", help="how many it has had in a year (%(default)s)"
    )
    sandbox.add_argument(
        "--history-file", metavar="FILE", help="keep them in this SQLite file, and go on with those that it has"
    )
    sandbox.add_argument("-d", "--debug", action="store_true", help="log everything")
    sandbox.set_defaults(run=_sandbox)

    check = commands.add_parser("check", help="try everything that a zuul.conf names, and say what to do")
    _add_configuration(check)
    check.set_defaults(run=_check)

    tail = commands.add_parser("tail", help="follow the log of a build, to its end")
    tail.add_argument("build", metavar="UUID|URL", help="a build's uuid, or any URL that names the build")
    tail.add_argument("--server", metavar="URL", help="default: $ZUUL_REST_URL, else as zuul.conf has it")
    _add_configuration(tail)
    tail.add_argument("--tenant", metavar="NAME", help="default: the one that has the build")
    tail.add_argument(
        "--token", help="for a protected tenant; default: $ZUUL_REST_TOKEN, which other users of the host do not see"
    )
    tail.add_argument("-v", "--verbose", action="store_true", help="say what happens even if that is no terminal")
    tail.set_defaults(run=_tail)

    token = commands.add_parser("token", help="make a token for the administration, as `zuul create-auth-token` does")
    _add_configuration(token)
    token.add_argument("--auth-config", metavar="NAME", help="the section [auth NAME]; default: the only one that can")
    token.add_argument("--user", required=True, help="whose name is in the logs")
    token.add_argument(
        "--tenant", action="append", default=[], help="a tenant that it administers; may be repeated, or left out"
    )
    token.add_argument("--expires-in", type=int, default=600, metavar="SECONDS", help="(%(default)s)")
    token.set_defaults(run=_token)

    openapi = commands.add_parser("openapi", help="print the OpenAPI document of all URLs")
    openapi.add_argument("--format", choices=("yaml", "json"), default="yaml", help="(%(default)s)")
    openapi.set_defaults(run=_openapi)
    return parser


def _add_configuration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c", dest="conf", metavar="ZUUL_CONF", help="default: $ZUUL_CONF, /etc/zuul/zuul.conf, ~/zuul.conf"
    )


def _serve(options: argparse.Namespace) -> int:
    from zuul.web.application import services

    settings = services(options.conf).settings
    _configure_logging(settings, options.debug)
    return _run(options.conf, options.paste, settings)


def _run(zuul_conf: str | None, paste_file: str | None, settings: Settings) -> int:
    from paste.deploy import loadserver

    from zuul.web.application import DEFAULT_PASTE_FILE, load

    if paste_file is not None and not os.path.isfile(paste_file):
        raise ConfigError(f"{paste_file}: there is no such Paste file")
    application = load(zuul_conf, paste_file)
    server = loadserver(
        f"config:{os.path.abspath(paste_file or DEFAULT_PASTE_FILE)}", global_conf={"zuul_conf": zuul_conf or ""}
    )
    try:
        server(application)
    except OSError as error:
        where = f"{settings.web.listen_address} port {settings.web.port}"
        print(f"zuul-rest: {settings.path}: [web] cannot listen on {where}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def _streamer(options: argparse.Namespace) -> int:
    from zuul.web.application import services
    from zuul.web.server import serve_streams

    found = services(options.conf)
    _configure_logging(found.settings, options.debug)
    rest, web = found.settings.rest, found.settings.web
    try:
        serve_streams(found)
    except OSError as error:
        where = f"{rest.streamer_address or web.listen_address} port {rest.streamer_port}"
        print(f"zuul-rest: {found.settings.path}: [rest] cannot listen on {where}: {error.strerror}", file=sys.stderr)
        return 1
    finally:
        found.close()
    return 0


def _configure_logging(settings: Settings, debug: bool) -> None:
    """As [web] log_config says (as upstream: YAML, JSON or an ini file), else to standard output."""
    path = settings.web.log_config
    if path is None:
        logging.basicConfig(
            level=logging.DEBUG if debug else logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            stream=sys.stdout,
        )
        logging.getLogger("gear").setLevel(logging.WARNING)
        return
    path = os.path.expanduser(path)
    try:
        if path.endswith((".yaml", ".yml", ".json")):
            import yaml  # type: ignore[import-untyped, unused-ignore]

            with open(path, encoding="utf-8") as file:
                logging.config.dictConfig(yaml.safe_load(file))
        else:
            logging.config.fileConfig(path, disable_existing_loggers=False)
    except Exception as error:
        raise ConfigError(f"{settings.path}: [web] log_config must name a logging configuration: {error}.") from error


def _sandbox(options: argparse.Namespace) -> int:
    from zuul.web.auth.mint import mint
    from zuul.web.sandbox.history import History, HistoryError
    from zuul.web.sandbox.past import MAX_BUILDS
    from zuul.web.sandbox.scenario import ScenarioError, load
    from zuul.web.sandbox.scheduler import SandboxScheduler
    from zuul.web.sandbox.service import Sandbox
    from zuul.web.sandbox.simulation import warm_up_begin

    if not 0 <= options.port <= 65535:
        raise ConfigError("--port must be from 0 to 65535")
    if not 0 < options.speed <= 1000:
        raise ConfigError("--speed must be above 0, and 1000 at most")
    if not 0 <= options.history <= MAX_BUILDS:
        raise ConfigError(f"--history must be from 0 to {MAX_BUILDS}")
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    logging.getLogger("gear").setLevel(logging.CRITICAL)
    try:
        scenario = load(options.scenario, options.items)
        began = warm_up_begin(time.time(), options.speed)
        history = History(scenario, builds=options.history, end=began, file=options.history_file)
        scheduler = SandboxScheduler(
            scenario,
            speed=options.speed,
            seed=history.seed,
            report_to=history.append,
            first_change=history.first_change,
        )
    except (ScenarioError, HistoryError) as error:
        raise ConfigError(str(error)) from error
    if options.port == 0:
        from zuul.web.server import listen_socket

        with listen_socket(options.address, 0) as probe:
            options.port = probe.getsockname()[1]
    with Sandbox(scheduler, options.address, options.port, history) as sandbox:
        build = scheduler.last_to_end(scheduler.tenants[0])
        settings = read(sandbox.zuul_conf)
        token = mint(settings.auth[0], "admin", scheduler.tenants, SANDBOX_TOKEN_SECONDS)
        _print_welcome(options.address, options.port, scheduler.tenants, build.uuid if build else None, token)
        return _run(sandbox.zuul_conf, None, settings)


def _print_welcome(address: str, port: int, tenants: list[str], build: str | None, token: str) -> None:
    """:param build: one whose log is to be watched, of the first tenant.
    :param token: of an administrator of all tenants.
    """
    base = _url(address, port)
    print(
        f"A simulated Zuul with the tenants {', '.join(tenants)}. Look at {base}/ with a browser, or try\n\n"
        f"  curl {base}/api/tenants\n"
        f"  curl --compressed {base}/api/tenant/{tenants[0]}/status\n"
        f"  curl -i '{base}/v1/tenants/{tenants[0]}/jobs?limit=3'\n"
        f"  curl '{base}/v1/tenants/{tenants[0]}/builds/{build or 'UUID'}/log?follow=true'\n\n"
        "With the token of an administrator of all tenants, good for a day:\n\n"
        f"  TOKEN={token}\n"
        f'  curl -H "Authorization: Bearer $TOKEN" {base}/v1/authorizations\n\n'
        "Control-C ends it.",
        flush=True,
    )


def _url(listen_address: str, port: int) -> str:
    """Where a server that listens there is found from this host."""
    host = "127.0.0.1" if listen_address in ("0.0.0.0", "::") else listen_address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _check(options: argparse.Namespace) -> int:
    from zuul.web.check import check

    return check(read(options.conf or os.environ.get("ZUUL_CONF")))


def _tail(options: argparse.Namespace) -> int:
    from zuul.web.build_url import build_of
    from zuul.web.tail import tail

    def server() -> str:
        return options.server or os.environ.get("ZUUL_REST_URL") or _configured_server(options.conf)

    build = build_of(options.build, server, options.tenant)
    return tail(build, options.verbose, _bearer_token(options.token, build.server))


def _bearer_token(given: str | None, server: str) -> str | None:
    """The token to send to a server, without the `Bearer` that `zuul-rest token` puts before it.

    That of the environment is for the server of the environment, if that is there: a URL may be anybody's.
    """
    if given is None:
        home = os.environ.get("ZUUL_REST_URL")
        if home and urlsplit(home)[:2] != urlsplit(server)[:2]:
            return None
    text = given if given is not None else os.environ.get("ZUUL_REST_TOKEN")
    if not text:
        return None
    found = re.fullmatch(r"\s*(?:bearer\s+)?([!-~]+)\s*", text, re.IGNORECASE)
    if found is None:
        raise ConfigError("--token or $ZUUL_REST_TOKEN: this is no token")
    return found[1]


def _configured_server(conf: str | None) -> str:
    """The URL that zuul.conf gives the web service. Who cannot read that file has most likely the default one."""
    conf = conf or os.environ.get("ZUUL_CONF")
    readable = [place for place in PLACES if os.access(os.path.expanduser(place), os.R_OK)]
    web = read(conf or readable[0]).web if conf or readable else Web()
    return web.root or _url(web.listen_address, web.port)


def _token(options: argparse.Namespace) -> int:
    from zuul.web.auth.mint import mint, section_to_sign_with

    if not 0 < options.expires_in <= 10 * 365 * 86400:
        raise ConfigError("--expires-in must be from 1 second to 10 years")
    settings = read(options.conf or os.environ.get("ZUUL_CONF"))
    section = section_to_sign_with(settings, options.auth_config, with_tenants=bool(options.tenant))
    print(f"Bearer {mint(section, options.user, options.tenant, options.expires_in)}")
    return 0


def _openapi(options: argparse.Namespace) -> int:
    from zuul.web.application import document_of, with_all_options
    from zuul.web.openapi.document import as_json, as_yaml

    document = document_of(with_all_options())
    print((as_json if options.format == "json" else as_yaml)(document), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
