"""The error tree: whose fault, which status, can a retry help, which knob.

    ColonnadeError
    ├── ClientError               fault=client   the caller can mend it
    │   ├── InvalidRequest        400  a field is malformed, unknown in value, or refused
    │   │   └── ContextTooLong    400  prompt and answer do not fit the context
    │   ├── Unauthenticated       401  no key, or one that is not known
    │   ├── BudgetExceeded        402  what may be used in the day or month is used up
    │   ├── Forbidden             403  known, and not allowed to
    │   ├── NotFound              404  no such route, model, deployment, replica
    │   ├── MethodNotAllowed      405
    │   ├── RequestTimeout        408  the request did not arrive whole in time
    │   ├── Conflict              409  the state moved under a change
    │   │   └── StreamGone        409  a stream cannot be taken up again; the request can be sent anew
    │   └── BodyTooLarge          413
    ├── CapacityError             fault=capacity  nothing is broken, nothing is free; a retry helps
    │   ├── RateLimited           429
    │   └── Overloaded            503  queue full, no replica ready, draining
    ├── ServerError               fault=server   ours
    │   ├── Internal              500
    │   ├── ReplicaLost           502  the replica went away while it worked on the request
    │   ├── StepFailed            500  a step of a chain raised; its class, status and stacks are in `report`
    │   └── DeadlineExceeded      504
    └── SetupError                fault=setup    raised on a terminal, before anything serves
        ├── BadSetting            a setting's value or name
        ├── BadChain              a chain that cannot be run
        └── BadModel              a model folder that cannot be served

Every error crosses HTTP in one envelope, OpenAI's with three fields more (`retryable`, `hint`, `request_id`); below
/v1/messages the same fields stand in Anthropic's.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Fault = Literal["client", "capacity", "server", "setup"]


class ColonnadeError(Exception):
    """`message` says what happened, `hint` names the knob or the next step, `param` the request's field."""

    fault: ClassVar[Fault] = "server"
    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        param: str | None = None,
        code: str | None = None,
        after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param
        self.after = after
        """Seconds until the same request can succeed, where that is known: `Retry-After`."""
        self.reason = code or type(self).code
        """Machine-readable: the class's code, or a narrower one."""

    def envelope(self, request_id: str = "") -> dict[str, Any]:
        """The body of the error response: `{"error": {...}}`."""
        return {
            "error": {
                "message": self.message,
                "type": _TYPES[self.fault],
                "param": self.param,
                "code": self.reason,
                "retryable": self.retryable,
                "hint": self.hint,
                "request_id": request_id,
            }
        }

    def message_envelope(self, request_id: str = "") -> dict[str, Any]:
        """The same in Anthropic's form: what its clients read, and our fields beside it."""
        said = self.envelope(request_id)["error"] | {"type": _MESSAGE_TYPES.get(self.status, "api_error")}
        return {"error": said, "type": "error", "request_id": request_id}

    def enveloped(self, path: str, request_id: str = "") -> dict[str, Any]:
        """In the form that clients of the endpoint read."""
        spoken = self.message_envelope if path.startswith(MESSAGES) else self.envelope
        return spoken(request_id)


MESSAGES = "/v1/messages"
"""Anthropic's endpoints: this one and what is below it."""

_MESSAGE_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

_TYPES: dict[str, str] = {
    "client": "invalid_request_error",
    "capacity": "overloaded_error",
    "server": "server_error",
    "setup": "setup_error",
}


class ClientError(ColonnadeError):
    fault = "client"
    status = 400
    code = "invalid_request"


class InvalidRequest(ClientError):
    code = "invalid_value"


class ContextTooLong(InvalidRequest):
    code = "context_length_exceeded"


class Unauthenticated(ClientError):
    status = 401
    code = "invalid_api_key"


class BudgetExceeded(ClientError):
    status = 402
    code = "budget_exceeded"


class Forbidden(ClientError):
    status = 403
    code = "forbidden"


class NotFound(ClientError):
    status = 404
    code = "not_found"


class MethodNotAllowed(ClientError):
    status = 405
    code = "method_not_allowed"


class RequestTimeout(ClientError):
    status = 408
    code = "request_timeout"
    retryable = True


class Conflict(ClientError):
    status = 409
    code = "conflict"


class StreamGone(Conflict):
    code = "stream_gone"
    retryable = True


class BodyTooLarge(ClientError):
    status = 413
    code = "body_too_large"


class CapacityError(ColonnadeError):
    fault = "capacity"
    status = 503
    code = "overloaded"
    retryable = True


class RateLimited(CapacityError):
    status = 429
    code = "rate_limited"


class Overloaded(CapacityError):
    pass


class ServerError(ColonnadeError):
    pass


class Internal(ServerError):
    pass


class ReplicaLost(ServerError):
    status = 502
    code = "replica_lost"
    retryable = True


class StepFailed(ServerError):
    code = "step_failed"


class DeadlineExceeded(ServerError):
    status = 504
    code = "deadline_exceeded"
    retryable = True


class SetupError(ColonnadeError):
    fault = "setup"
    code = "setup"


class BadSetting(SetupError):
    code = "bad_setting"


class BadChain(SetupError):
    code = "bad_chain"


class BadModel(SetupError):
    code = "bad_model"
