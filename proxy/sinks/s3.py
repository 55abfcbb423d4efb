"""``s3``, ``s3_v2``: writes each batch as an object of gzipped JSON lines, in S3 or a compatible store.

botocore signs requests and finds credentials in AWS's usual places (variables, profiles, the machine's role).
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import importlib.util
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from proxy.config import Config, Environment
from proxy.config.fields import Key, Text, Url
from proxy.http.transport import Transport
from proxy.sinks import post
from proxy.sinks.base import Record, Sink, Undelivered
from proxy.sinks.rows import as_json
from proxy.sinks.settings import SinkSettings

NOT_INSTALLED = "botocore is not installed: pip install 'audio-proxy[s3]'"
DEFAULT_REGION = "us-east-1"


class S3Settings(SinkSettings):
    """Aliases are the keys of ``s3_callback_params``."""

    kind: Literal["s3", "s3_v2"] = "s3"
    bucket: Text | None = Field(default=None, validation_alias="s3_bucket_name", description="The bucket. Required.")
    region: Text | None = Field(
        default=None,
        validation_alias="s3_region_name",
        description="$AWS_REGION, $AWS_DEFAULT_REGION or us-east-1 if missing.",
    )
    endpoint: Url | None = Field(
        default=None, validation_alias="s3_endpoint_url", description="A store other than AWS."
    )
    path: str = Field(default="", validation_alias="s3_path", description="Prefix of the object names.")
    access_key_id: Key | None = Field(
        default=None, validation_alias="s3_aws_access_key_id", description="AWS's usual credential sources if missing."
    )
    secret_access_key: Key | None = Field(
        default=None, validation_alias="s3_aws_secret_access_key", description="The secret of the access key."
    )
    session_token: Key | None = Field(
        default=None, validation_alias="s3_aws_session_token", description="The session token of temporary credentials."
    )

    def build(self, config: Config, transport: Transport) -> S3:
        return S3(self, config.environment, transport)

    def problems(self, config: Config) -> Iterable[str]:
        if importlib.util.find_spec("botocore") is None:
            yield NOT_INSTALLED
        if self.bucket is None:
            yield "'s3_bucket_name' is missing in litellm_settings.s3_callback_params"
        if (self.access_key_id is None) != (self.secret_access_key is None):
            yield "s3_aws_access_key_id and s3_aws_secret_access_key must be set together"


class S3(Sink):
    def __init__(self, settings: S3Settings, environment: Environment, transport: Transport) -> None:
        self._region = settings.region or _first(environment, "AWS_REGION", "AWS_DEFAULT_REGION") or DEFAULT_REGION
        self._base = _base(settings, self._region)
        self._prefix = f"{settings.path.strip('/')}/" if settings.path.strip("/") else ""
        self._static_credentials = _static_credentials(settings, environment)
        self._session_credentials: Any = None
        self._transport = transport
        #: Distinguishes the objects of this process from those of others.
        self._writer = secrets.token_hex(4)

    async def send(self, records: Sequence[Record]) -> None:
        lines = b"".join(as_json(record.row) + b"\n" for record in records)
        body = await asyncio.to_thread(gzip.compress, lines, mtime=0)
        url = f"{self._base}/{quote(self._key(records[0], lines))}"
        try:
            headers = await asyncio.to_thread(self._signed, url, body)
        except Exception as error:
            raise Undelivered(f"no signature: {type(error).__name__}") from error
        await post.send(self._transport, "PUT", url, headers, body)

    def _key(self, first: Record, lines: bytes) -> str:
        """The same for the same batch, so that a retry does not create a second object."""
        when = datetime.fromtimestamp(first.ended + first.epoch, UTC)
        digest = hashlib.sha256(lines).hexdigest()[:16]
        return f"{self._prefix}{when:%Y-%m-%d}/{when:%H-%M-%S}-{self._writer}-{digest}.jsonl.gz"

    def _signed(self, url: str, body: bytes) -> dict[str, str]:
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest

        headers = {"content-type": "application/gzip", "content-length": str(len(body))}
        request = AWSRequest(method="PUT", url=url, headers=headers, data=body)
        S3SigV4Auth(self._credentials(), "s3", self._region).add_auth(request)
        return dict(request.headers.items())

    def _credentials(self) -> Any:
        from botocore.credentials import Credentials
        from botocore.session import Session

        if self._static_credentials is not None:
            return Credentials(*self._static_credentials)
        if self._session_credentials is None:
            self._session_credentials = Session().get_credentials()
        if self._session_credentials is None:
            raise LookupError("no credentials")
        return self._session_credentials.get_frozen_credentials()


def _base(settings: S3Settings, region: str) -> str:
    if settings.endpoint is not None:
        return f"{settings.endpoint}/{settings.bucket}"
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{settings.bucket}.s3.{region}.{suffix}"


def _static_credentials(settings: S3Settings, environment: Environment) -> tuple[str, str, str | None] | None:
    """Credentials from the settings or the configuration's variables."""
    if settings.access_key_id is not None and settings.secret_access_key is not None:
        token = settings.session_token
        return (
            settings.access_key_id.get_secret_value(),
            settings.secret_access_key.get_secret_value(),
            token.get_secret_value() if token is not None else None,
        )
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if all(name in environment for name in names):
        return environment[names[0]], environment[names[1]], environment.get("AWS_SESSION_TOKEN")
    return None


def _first(environment: Environment, *names: str) -> str | None:
    return next((environment[name] for name in names if name in environment), None)
