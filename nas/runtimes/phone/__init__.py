"""iPhones that are connected to this Mac, through Xcode's tools and coremltools' client.

Nothing here imports coremltools before a phone is used.
"""

from nas.runtimes.phone.devicectl import ConnectedPhone, find_phone, list_phones
from nas.runtimes.phone.errors import ModelFailedError, NoAnswerError, PhoneLostError
from nas.runtimes.phone.placement import ComputePlacement
from nas.runtimes.phone.recovery import PhoneGoneError, Recovery
from nas.runtimes.phone.session import PhoneModel, PhoneSession, Prediction, Signing
from nas.runtimes.phone.wait_settings import WaitSettings

__all__ = [
    "ComputePlacement",
    "ConnectedPhone",
    "ModelFailedError",
    "NoAnswerError",
    "PhoneGoneError",
    "PhoneLostError",
    "PhoneModel",
    "PhoneSession",
    "Prediction",
    "Recovery",
    "Signing",
    "WaitSettings",
    "find_phone",
    "list_phones",
]
