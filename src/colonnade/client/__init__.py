"""A client in Python: models, packages and chains behind one gateway, sync and async.

    from colonnade.client import Client

    with Client("http://127.0.0.1:8080", key="cln_...") as client:
        client.predict("greeter", {"name": "Ada"})
        for piece in client.stream("teller", {"words": 100}): ...
        client.chat("colonnade-tiny", "Hello!")

Errors are those of the one tree, `colonnade.wire.errors`, also importable from here. `into=` makes an answer what it is
annotated as: any type that pydantic reads.
"""

from colonnade.client.asynchronous import AsyncClient
from colonnade.client.blocking import Client
from colonnade.client.later import Later
from colonnade.wire.errors import (
    BudgetExceeded,
    CapacityError,
    ClientError,
    ColonnadeError,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    Overloaded,
    RateLimited,
    ReplicaLost,
    ServerError,
    Unauthenticated,
)

__all__ = [
    "AsyncClient",
    "BudgetExceeded",
    "CapacityError",
    "Client",
    "ClientError",
    "ColonnadeError",
    "DeadlineExceeded",
    "InvalidRequest",
    "Later",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "ReplicaLost",
    "ServerError",
    "Unauthenticated",
]
