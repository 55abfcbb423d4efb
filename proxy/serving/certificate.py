"""The server's own certificate."""

from __future__ import annotations

import ssl

from proxy.errors import ConfigError
from proxy.serving.options import ServerOptions


def check_certificate(options: ServerOptions) -> None:
    """Raises ConfigError, which names the file, for a certificate or a private key that cannot be used."""
    certificate, key = options.ssl_certfile, options.ssl_keyfile
    if certificate is None:
        return
    for path in filter(None, (certificate, key)):
        try:
            open(path, "rb").close()
        except OSError as error:
            raise ConfigError([f"{path}: {error.strerror}"]) from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        where = f"in {certificate} itself" if key is None else f"in {key}"
        problem = f"{certificate}: no certificate (PEM), or not with its unencrypted private key {where}"
        raise ConfigError([f"{problem} ({error})"]) from None
