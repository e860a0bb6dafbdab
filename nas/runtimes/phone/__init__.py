"""iPhones that are connected to this Mac, through Xcode's tools and coremltools' client.

Nothing here imports coremltools before a phone is used.
"""

from nas.runtimes.phone.devicectl import Phone, find_phone, list_phones
from nas.runtimes.phone.errors import ModelFailedError, NoAnswerError, PhoneLostError
from nas.runtimes.phone.patience import Patience
from nas.runtimes.phone.placement import Placement
from nas.runtimes.phone.recovery import PhoneGoneError, Recovery
from nas.runtimes.phone.session import PhoneModel, PhoneSession, Prediction, Signing

__all__ = [
    "ModelFailedError",
    "NoAnswerError",
    "Patience",
    "Phone",
    "PhoneGoneError",
    "PhoneLostError",
    "PhoneModel",
    "PhoneSession",
    "Placement",
    "Prediction",
    "Recovery",
    "Signing",
    "find_phone",
    "list_phones",
]
