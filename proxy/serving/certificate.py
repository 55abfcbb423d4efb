"""The server's own certificate."""

from __future__ import annotations

import ssl

from proxy.errors import ConfigError
from proxy.serving.options import ServerOptions


def tls_context(options: ServerOptions) -> ssl.SSLContext | None:
    """What serves HTTPS, or None without a certificate. Raises ConfigError, which names the file, if it is unusable."""
    certificate, key = options.ssl_certfile, options.ssl_keyfile
    if certificate is None:
        return None
    for path in filter(None, (certificate, key)):
        try:
            open(path, "rb").close()
        except OSError as error:
            raise ConfigError([f"{path}: {error.strerror}"]) from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")  # an encrypted key is an error: nobody types a password
    except (ssl.SSLError, ValueError) as error:
        key_file = certificate if key is None else key
        problem = f"{certificate}: not a PEM certificate, or its unencrypted private key is not in {key_file}"
        raise ConfigError([f"{problem} ({error})"]) from None
    return context
