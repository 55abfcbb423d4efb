"""Settings that come in kinds, each with a class of its own: guardrails and sinks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar, Union, get_args

from pydantic import BaseModel, Field, TypeAdapter

Settings = TypeVar("Settings", bound=BaseModel)


class Kinds(Generic[Settings]):
    """The classes as one union. Pydantic tells them apart by the field ``key``: a Literal with the kind's names."""

    def __init__(self, key: str, *classes: type[Settings]) -> None:
        self.key = key
        #: By the names of their kinds, in the order of the table.
        self.classes: Mapping[str, type[Settings]] = {
            name: settings for settings in classes for name in get_args(settings.model_fields[key].annotation)
        }

    @cached_property
    def union(self) -> TypeAdapter[Settings]:
        classes = tuple(dict.fromkeys(self.classes.values()))
        union: Any = Annotated[Union[classes], Field(discriminator=self.key)]  # noqa: UP007  (made of a tuple)
        return TypeAdapter(union)


def keys_of(settings: type[BaseModel]) -> list[str]:
    """The keys that the file has for the fields: their aliases, else their names."""
    return [str(field.validation_alias or name) for name, field in settings.model_fields.items()]
