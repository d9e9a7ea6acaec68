from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Relayed(_message.Message):
    __slots__ = ("relay", "life", "first", "messages")
    RELAY_FIELD_NUMBER: _ClassVar[int]
    LIFE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    relay: str
    life: str
    first: int
    messages: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, relay: _Optional[str] = ..., life: _Optional[str] = ..., first: _Optional[int] = ..., messages: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Taken(_message.Message):
    __slots__ = ("life", "taken", "kept")
    LIFE_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    KEPT_FIELD_NUMBER: _ClassVar[int]
    life: str
    taken: int
    kept: int
    def __init__(self, life: _Optional[str] = ..., taken: _Optional[int] = ..., kept: _Optional[int] = ...) -> None: ...
