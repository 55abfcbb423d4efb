"""Settings that come in several kinds, each with its own class: guardrails and sinks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Generic, TypeVar, Union, get_args

from pydantic import BaseModel, Field, TypeAdapter

Settings = TypeVar("Settings", bound=BaseModel)


class Kinds(Generic[Settings]):
    """A table of settings classes, as a discriminated union.

    The field ``key`` of each class is a Literal with the names of its kind.
    """

    def __init__(self, key: str, *classes: type[Settings]) -> None:
        self.key = key
        #: The classes by the names of their kinds, in the order of the table.
        self.classes: Mapping[str, type[Settings]] = {
            name: settings for settings in classes for name in get_args(settings.model_fields[key].annotation)
        }

    @cached_property
    def union(self) -> TypeAdapter[Settings]:
        classes = tuple(dict.fromkeys(self.classes.values()))
        union: Any = Annotated[Union[classes], Field(discriminator=self.key)]  # noqa: UP007  (built from a tuple)
        return TypeAdapter(union)


def keys_of(settings: type[BaseModel]) -> list[str]:
    """The names of the fields in the file: their aliases, or their names if they have none."""
    return [str(field.validation_alias or name) for name, field in settings.model_fields.items()]
