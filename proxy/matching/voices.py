"""Maps the caller's voice to one of the vendor's."""

from __future__ import annotations

from proxy.domain.requests import SpeechRequest
from proxy.errors import BadRequest, ProxyError, UnsupportedValue
from proxy.matching.bound import BoundDeployment

MAX_VOICES_NAMED = 40


def vendor_voice(bound: BoundDeployment, request: SpeechRequest) -> str | None:
    """The vendor's voice; None if there is none, or the caller may not use the one that it names.

    It is the caller's voice, mapped by ``voices``, by the vendor's table and by its list; or the deployment's own, if
    the caller names none, or the call has fallen back to a group whose vendor does not know the caller's voice.
    """
    deployment, known = bound.deployment, bound.adapter.capabilities.voices
    requested, own = request.voice, deployment.voice
    if requested is not None:
        if requested in deployment.voices:
            return deployment.voices[requested]
        if known is not None and (voice := known.find(requested)) is not None:
            return voice
        if (voice := bound.listed_voices.get(requested) or bound.listed_voices.get(requested.lower())) is not None:
            return voice
        if own is None or deployment.group == request.model:
            return requested if known is None or deployment.allow_any_voice else None
    if own is None or own in deployment.voices:
        return own and deployment.voices[own]
    return (known.find(own) if known is not None else None) or own


def voice_error(bound: BoundDeployment, request: SpeechRequest) -> ProxyError:
    """The error if there is no `vendor_voice`."""
    known = bound.adapter.capabilities.voices
    if request.voice is None:
        names = f" The voices are: {', '.join(known.names[:MAX_VOICES_NAMED])}." if known is not None else ""
        return BadRequest(
            f"Missing required parameter: 'voice'.{names}", param="voice", code="missing_required_parameter"
        )
    allowed = list(dict.fromkeys((*bound.deployment.voices, *(known.names if known is not None else ()))))
    names = ", ".join(allowed[:MAX_VOICES_NAMED]) + (", …" if len(allowed) > MAX_VOICES_NAMED else "")
    return UnsupportedValue(
        f"voice '{request.voice[:50]}' is not one of the voices of '{request.model}': {names}.", param="voice"
    )
