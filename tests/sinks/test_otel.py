"""What the variables of OpenTelemetry mean here."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from proxy.config import Environment
from proxy.domain.call import Call
from proxy.sinks.otel import Sampler, endpoint_of, headers_of, problems, resource_of

pytest.importorskip("opentelemetry.proto")

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = PARENT[:-2] + "00"


@pytest.mark.parametrize(
    ("sampler", "parent", "wanted"),
    [
        ("", "", True),
        ("", PARENT, True),
        ("", UNSAMPLED, False),
        ("always_on", UNSAMPLED, True),
        ("always_off", PARENT, False),
        ("traceidratio", PARENT, False),
        ("parentbased_always_off", PARENT, True),
        ("parentbased_always_off", "", False),
        ("parentbased_traceidratio", "", False),
        ("parentbased_traceidratio", PARENT, True),
    ],
)
def test_who_decides(sampler: str, parent: str, wanted: bool) -> None:
    environment = Environment({"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": "0"})
    assert Sampler(environment).includes(Call("req", "speech", 0.0, traceparent=parent)) == wanted


def test_a_ratio_takes_about_that_share() -> None:
    sampler = Sampler(Environment({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}))
    taken = sum(sampler.includes(Call("req", "speech", 0.0)) for _ in range(4000))
    assert 800 < taken < 1200


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, "http://localhost:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/otlp/"}, "http://c:4318/otlp/v1/traces"),
        ({"OTEL_ENDPOINT": "http://c:4318/v1/traces"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x", "OTEL_ENDPOINT": "http://c"}, "http://t/x"),
    ],
)
def test_the_endpoint(variables: Mapping[str, str], url: str) -> None:
    assert endpoint_of(Environment(variables)) == url


def test_headers_and_resource() -> None:
    environment = Environment(
        {"OTEL_HEADERS": "Authorization=Bearer%20x, b = c", "OTEL_RESOURCE_ATTRIBUTES": "service.name=a,x=y%2Cz"}
    )
    assert headers_of(environment) == {"Authorization": "Bearer x", "b": "c"}
    assert resource_of(environment) | {"service.version": "?"} == {
        "service.name": "a",
        "service.version": "?",
        "x": "y,z",
    }
    assert resource_of(Environment({"OTEL_SERVICE_NAME": "b"}))["service.name"] == "b"


def test_nothing_is_wrong_by_default() -> None:
    assert list(problems(Environment({}))) == []
