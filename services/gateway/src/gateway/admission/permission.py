"""Whether a call may be made, however much is left: which models may answer it, and that its cost has a bound. Pure."""

from farebox.matching import Admitted, is_allowed
from gateway.admission.bounds import Bounds
from gateway.admission.estimate import Reason
from gateway.admission.verdict import Refused
from gateway.dialects.call import Call
from gateway.dialects.path import setting
from gateway.policy.policies import KeyPolicy
from gateway.upstreams.directory import Upstream


def barred(call: Call, upstream: Upstream, admitted: Admitted, key_policy: KeyPolicy) -> Refused | None:
    """Why no amount of money would let it pass."""
    allowed, blocked = key_policy.settings.allowed_models, key_policy.settings.blocked_models
    for model in (call.model, *call.candidates):
        if not is_allowed(upstream.provider, model, allowed, blocked):
            return Refused(Reason.MODEL_NOT_ALLOWED, key_policy, model=model)
    if call.candidates and (refused := _apart(call, admitted, key_policy)):
        return refused
    if call.unbounded and key_policy.holds_cost(admitted):
        field = next((each for each in call.unbounded if not upstream.lets_through(setting(each))), None)
        return Refused(Reason.FIELD_NOT_BOUNDED, key_policy, detail=field) if field is not None else None
    return None


def unbounded(limits: Bounds, model: str, upstream: Upstream, key_policy: KeyPolicy) -> Refused | None:
    """What of the call, were `model` to answer it, has no bound, so that no reserve would be the most it can cost."""
    if limits.open_tool and not upstream.lets_through(limits.open_tool):
        return Refused(Reason.FIELD_NOT_BOUNDED, key_policy, detail=limits.open_tool)
    if limits.unbounded:
        return Refused(Reason.MODEL_NOT_BOUNDED, key_policy, detail=limits.unbounded, model=model)
    return None


def _apart(call: Call, admitted: Admitted, key_policy: KeyPolicy) -> Refused | None:
    """A further model with hard budgets that do not apply to the one asked for: nothing would be held in them."""
    path = key_policy.path(admitted)
    for model in call.candidates:
        if not all(window in path for window in key_policy.path(admitted._replace(model=model))):
            why = f"It has hard budgets of its own, in which a call of `{call.model}` holds nothing."
            return Refused(Reason.MODEL_NOT_ALLOWED, key_policy, detail=why, model=model)
    return None
