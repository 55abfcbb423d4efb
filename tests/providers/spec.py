"""Holds outgoing requests against a vendor's published description (OpenAPI 3, or JSON Schema in that form).

Objects are closed: where a schema lists ``properties`` and says nothing of others, a field that it does not list is an
error, so that a misspelt one cannot pass.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from tests.fakes.upstream import Recorded

SPECS = Path(__file__).parent / "specs"
_URN = "urn:spec"
_MAPS = ("properties", "patternProperties", "$defs", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "if", "then", "else", "contains", "propertyNames", "contentSchema")
_CLOSED_BY = ("additionalProperties", "unevaluatedProperties")


class Spec:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = _prepared(document)
        resource = Resource(contents=self._document, specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_URN, resource)

    def complaints(self, request: Recorded, base_path: str = "") -> list[str]:
        """What is wrong with the request; a path that is not described is wrong, too."""
        found = self._operation(request, base_path)
        if found is None:
            return [f"{request.method} {request.path} is not in the spec"]
        shared, operation = found
        parameters = [self._resolved(one) for one in (*shared, *operation.get("parameters", ()))]
        return [*self._of_parameters(request, parameters), *self._of_body(request, operation)]

    def of_schema(self, name: str, value: Any) -> list[str]:
        """What is wrong with a value that should be what this schema of the components says."""
        return self._against({"$ref": f"{_URN}#/components/schemas/{name}"}, value)

    def _operation(self, request: Recorded, base_path: str) -> tuple[list[Any], dict[str, Any]] | None:
        """The path's own parameters, and the operation; literal paths go before templates."""
        paths = self._document.get("paths", {})
        for asked in (request.path, request.path.removeprefix(base_path)):
            for template in sorted(paths, key=lambda path: path.count("{")):
                pattern = re.sub(r"\\\{[^/{}]+\\\}", "[^/]+", re.escape(template))
                operation = paths[template].get(request.method.lower())
                if operation is not None and re.fullmatch(pattern, asked):
                    return paths[template].get("parameters", []), operation
        return None

    def _of_parameters(self, request: Recorded, parameters: list[Any]) -> Iterator[str]:
        query = parse_qs(request.target.partition("?")[2], keep_blank_values=True)
        declared = {one["name"]: one for one in parameters if one["in"] == "query"}
        yield from (f"query: {name!r} is not declared" for name in query if name not in declared)
        for name, parameter in declared.items():
            if name in query:
                _, said = self._read(query[name], parameter.get("schema", {}))
                yield from (f"query {name}: {one}" for one in said)
            elif parameter.get("required"):
                yield f"query: {name!r} is missing"
        for one in parameters:
            if one["in"] == "header" and one.get("required") and request.header(one["name"]) is None:
                yield f"header: {one['name']!r} is missing"

    def _of_body(self, request: Recorded, operation: dict[str, Any]) -> Iterator[str]:
        described = self._resolved(operation.get("requestBody", {}))
        stated = (request.header("content-type") or "").partition(";")[0].strip().lower()
        if not described:
            if request.body_size:
                yield "there is a body, and none is described"
            return
        content = described.get("content", {})
        kind = next((kind for kind in (stated, f"{stated.partition('/')[0]}/*", "*/*") if kind in content), None)
        if not request.body_size and not described.get("required"):
            return
        if kind is None:
            yield f"content-type: {stated!r} is not one of {sorted(content)}"
            return
        schema = content[kind].get("schema", {})
        if stated == "application/json":
            yield from self._against(schema, request.json)
        elif stated == "multipart/form-data":
            yield from self._of_form(request, schema)
        elif stated.endswith("xml"):
            yield from _of_xml(request.body, content[kind].get("elements"))

    def _of_form(self, request: Recorded, schema: Any) -> Iterator[str]:
        properties = self._resolved(schema).get("properties", {})
        values: dict[str, Any] = {}
        for part in request.parts:
            name = part.name if part.name in properties else part.name.removesuffix("[]")
            values.setdefault(name, []).append("" if part.filename is not None else part.text)
        form: dict[str, Any] = {}
        for name, texts in values.items():
            schema_of = self._resolved(properties.get(name, {}))
            if "contentSchema" in schema_of:
                form[name] = texts[0]
                yield from self._of_json_part(name, texts, schema_of["contentSchema"])
                continue
            form[name], said = self._read(texts, schema_of)
            yield from (f"form {name}: {one}" for one in said)
        yield from self._against(schema, form)

    def _of_json_part(self, name: str, texts: list[str], schema: Any) -> Iterator[str]:
        try:
            document = json.loads(texts[0])
        except ValueError as error:
            yield f"form {name}: {error}"
        else:
            yield from (f"form {name}: {one}" for one in self._against(schema, document))

    def _read(self, texts: list[str], schema: Any) -> tuple[Any, list[str]]:
        """Text as what the schema takes (a number, a boolean, a list of such), and the complaints if it takes none."""
        singles = [candidate for text in texts[:1] for candidate in _readings(text)]
        lists = [[_readings(text)[-1] for text in texts], list(texts)]
        candidates = [*singles, *lists] if len(texts) == 1 else lists
        said: list[str] = []
        for candidate in candidates:
            complaints = self._against(schema, candidate)
            if not complaints:
                return candidate, []
            said = said or complaints
        return candidates[0], said

    def _against(self, schema: Any, value: Any) -> list[str]:
        validator = Draft202012Validator(schema, registry=self._registry)
        return [f"body{error.json_path[1:]}: {error.message[:300]}" for error in validator.iter_errors(value)]

    def _resolved(self, node: Any) -> Any:
        while "$ref" in node and node["$ref"].startswith(f"{_URN}#"):
            node = self._registry.resolver().lookup(node["$ref"]).contents
        return node


@cache
def load(name: str) -> Spec:
    return Spec(json.loads((SPECS / name).read_text(encoding="utf-8")))


def _of_xml(body: bytes, elements: Mapping[str, list[str]] | None) -> Iterator[str]:
    """``elements``: the attributes of each that there may be; names with their namespaces, as ElementTree has them."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        yield f"body: {error}"
        return
    for node in root.iter() if elements is not None else ():
        if node.tag not in elements:
            yield f"body: no element {node.tag}"
        else:
            yield from (f"body: {node.tag} has no {name}" for name in node.attrib if name not in elements[node.tag])


def _readings(text: str) -> list[Any]:
    """The text itself, and what it is as JSON."""
    try:
        return [text, json.loads(text)]
    except ValueError:
        return [text]


def _prepared(document: Mapping[str, Any]) -> dict[str, Any]:
    """With absolute references and closed objects."""
    found: dict[str, Any] = json.loads(json.dumps(document).replace('"$ref": "#/', f'"$ref": "{_URN}#/'))
    for schemas in (found.get("components", {}).get("schemas", {}), found.get("$defs", {})):
        for name, schema in schemas.items():
            schemas[name] = _closed(schema)
    for path in found.get("paths", {}).values():
        for operation in (one for one in path.values() if isinstance(one, dict)):
            for media in operation.get("requestBody", {}).get("content", {}).values():
                media["schema"] = _closed(media.get("schema", {}))
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _closed(parameter.get("schema", {}))
        for parameter in path.get("parameters", ()):
            parameter["schema"] = _closed(parameter.get("schema", {}))
    return found


def _closed(schema: Any, *, part: bool = False) -> Any:
    """``part``: of a whole that is closed itself."""
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    own = "properties" in closed
    for keyword in _MAPS:
        if keyword in closed:
            closed[keyword] = {name: _closed(one) for name, one in closed[keyword].items()}
    for keyword in _LISTS:
        if keyword in closed:
            closed[keyword] = [_closed(one, part=keyword == "allOf" or own) for one in closed[keyword]]
    for keyword in _SINGLE:
        if keyword in closed:
            closed[keyword] = _closed(closed[keyword], part=keyword in ("if", "then", "else"))
    if own and not part and not any(keyword in closed for keyword in _CLOSED_BY):
        closed["unevaluatedProperties"] = False
    if "allOf" in closed and not part and not any(keyword in closed for keyword in _CLOSED_BY):
        closed["unevaluatedProperties"] = False
    return _of_today(closed)


def _of_today(schema: dict[str, Any]) -> dict[str, Any]:
    """OpenAPI 3.0's spelling of what JSON Schema says otherwise."""
    nullable = schema.pop("nullable", False)
    if nullable and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    elif nullable:
        return {"anyOf": [schema, {"type": "null"}]}
    for keyword, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if schema.get(keyword) is True:
            schema[keyword] = schema.pop(bound)
        elif schema.get(keyword) is False:
            del schema[keyword]
    return schema
