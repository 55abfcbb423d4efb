"""Whether and when to try again after a failure."""

from __future__ import annotations

import random
from collections.abc import Iterable

from proxy.config import RetryPolicy, RouterSettings
from proxy.errors import (
    ProxyError,
    UpstreamCredentials,
    UpstreamError,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnfinished,
)

CONTENT_POLICY = frozenset({"content_policy_violation", "content_filter", "moderation_blocked"})
#: Seconds: the first pause, doubled at each attempt, and the longest.
FIRST_PAUSE, MAX_PAUSE = 0.1, 5.0
#: The first pause after a rate limit whose end the vendor does not tell.
FIRST_PAUSE_OF_LIMIT = 0.5
#: Seconds that a call waits, in all, for vendors' rate limits to end. OpenAI's SDKs wait no longer, either.
MAX_WAIT = 60.0
#: Calls that wait for the same limit continue at different times: up to this share of the wait, and seconds, later.
SPREAD, MAX_SPREAD = 0.1, 1.0


def allowed(settings: RouterSettings, error: ProxyError, requested: int | None) -> int:
    """The number of retries within the group after this kind of failure; ``requested`` is the request's."""
    if not isinstance(error, UpstreamError) or isinstance(error, UpstreamUnfinished):
        return 0
    by_kind = _by_kind(settings.retry_policy, error)
    if by_kind is not None:
        return by_kind
    if isinstance(error, UpstreamRejected):
        return 0
    return settings.num_retries if requested is None else requested


def may_fall_back(error: ProxyError) -> bool:
    """Whether another group may be tried: not if the request itself is wrong, except for its content."""
    return error.retryable or (isinstance(error, UpstreamRejected) and error.code in CONTENT_POLICY)


def are_final(settings: RouterSettings, failures: Iterable[str]) -> bool:
    """Whether a deployment's failures (their kinds) show that it would answer the same: it lacks a model or a voice."""
    return settings.retry_policy.NotFoundErrorRetries is None and UpstreamNotFound.kind in failures


def is_limit(error: ProxyError) -> bool:
    """Whether the vendor may serve the same request later: a rate limit (not a lack of money), a 503 with a time."""
    if isinstance(error, UpstreamRateLimited):
        return error.code != "insufficient_quota"
    return isinstance(error, UpstreamUnavailable) and error.retry_after is not None


def pause(settings: RouterSettings, error: ProxyError, attempt: int, *, is_repeated: bool) -> float:
    """Seconds to wait after attempt ``attempt`` (from 1), growing, with jitter; 0 if waiting cannot help.

    ``is_repeated``: every deployment that is left was tried already. An untried one need not wait for a rate limit.
    """
    if isinstance(error, UpstreamCredentials | UpstreamNotFound):
        return 0.0
    if isinstance(error, UpstreamRateLimited) and not is_repeated:
        return settings.retry_after
    first = FIRST_PAUSE_OF_LIMIT if isinstance(error, UpstreamRateLimited) else FIRST_PAUSE
    backoff = min(MAX_PAUSE, first * 2.0 ** (attempt - 1))
    return max(settings.retry_after, backoff * random.uniform(0.5, 1.0))  # noqa: S311


def spread(wait: float) -> float:
    """Seconds to add to a wait for the end of a rate limit."""
    return random.uniform(0.0, min(SPREAD * wait, MAX_SPREAD))  # noqa: S311


def _by_kind(policy: RetryPolicy, error: UpstreamError) -> int | None:
    if isinstance(error, UpstreamRejected):
        if error.code in CONTENT_POLICY:
            return policy.ContentPolicyViolationErrorRetries
        return policy.BadRequestErrorRetries
    if isinstance(error, UpstreamNotFound):
        retries = policy.NotFoundErrorRetries
    elif isinstance(error, UpstreamCredentials):
        retries = policy.AuthenticationErrorRetries
    elif isinstance(error, UpstreamRateLimited):
        retries = policy.RateLimitErrorRetries
    elif isinstance(error, UpstreamTimeout):
        retries = policy.TimeoutErrorRetries
    elif error.status == 503:
        retries = policy.ServiceUnavailableErrorRetries
    else:
        retries = policy.InternalServerErrorRetries
    return policy.DefaultRetries if retries is None else retries
