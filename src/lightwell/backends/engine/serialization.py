"""How the engine keeps values: JSON, never pickle, so that whoever can write its tables runs no code."""

from __future__ import annotations

import json
from typing import Any

from dbos import Serializer

from lightwell.workflows.values import failure, failure_from_json, failure_to_json

_FAILURE = "lightwell.failure"
_TUPLE = "lightwell.tuple"


class JsonSerializer(Serializer):
    """JSON with two more things: the tuple that holds a call's arguments, and failures."""

    def serialize(self, data: Any) -> str:
        return json.dumps(_plain(data), allow_nan=False, separators=(",", ":"))

    def deserialize(self, serialized_data: str) -> Any:
        return _restored(json.loads(serialized_data))

    def name(self) -> str:
        return "lightwell_json"


def _plain(data: Any) -> Any:
    if isinstance(data, Exception):
        return {_FAILURE: failure_to_json(failure(data))}
    if isinstance(data, tuple):
        return {_TUPLE: [_plain(each) for each in data]}
    if isinstance(data, list):
        return [_plain(each) for each in data]
    if isinstance(data, dict):
        return {key: _plain(value) for key, value in data.items()}
    return data


def _restored(data: Any) -> Any:
    if isinstance(data, list):
        return [_restored(each) for each in data]
    if isinstance(data, dict):
        if set(data) == {_FAILURE}:
            return failure_from_json(data[_FAILURE])
        if set(data) == {_TUPLE}:
            return tuple(_restored(each) for each in data[_TUPLE])
        return {key: _restored(value) for key, value in data.items()}
    return data
