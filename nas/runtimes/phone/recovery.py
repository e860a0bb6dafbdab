"""Waiting for a phone that is gone, and taking up where it left off."""

from __future__ import annotations

import logging
import time

from nas.errors import RuntimeUnavailableError
from nas.runtimes.phone.devicectl import list_phones
from nas.runtimes.phone.errors import PhoneLostError
from nas.runtimes.phone.session import PhoneSession

logger = logging.getLogger("nas")


class PhoneGoneError(RuntimeUnavailableError):
    """A phone did not come back in the time that there was for it."""


class Recovery:
    """Brings a session back to life, within `WaitSettings.lost_s` of the last answer that the phone gave.

    Args:
        session: The session.
    """

    def __init__(self, session: PhoneSession) -> None:
        self._session = session
        self._lost_since: float | None = None
        self._told: str | None = None

    def answered(self) -> None:
        """Tell that the phone answers."""
        self._lost_since = self._told = None

    def restore(self) -> bool:
        """Wait until the phone can be used, with its app running, and launch the app where it is not.

        Returns:
            Whether the phone was at fault: it had been away, or locked. Where it was not, the request was.

        Raises:
            PhoneGoneError: It did not come back in time.
            RuntimeUnavailableError: It needs something only its owner can do.
        """
        self._lost_since = self._lost_since or time.monotonic()
        phone_at_fault = False
        while (obstacle := self._obstacle()) is not None:
            phone_at_fault = True
            self._wait(obstacle)
        return phone_at_fault

    def _obstacle(self) -> str | None:
        """What is in the way; launches the app where nothing else is."""
        wait_settings = self._session.wait_settings
        try:
            phone = next((each for each in list_phones() if each.udid == self._session.phone.udid), None)
        except RuntimeUnavailableError as error:
            return f"cannot be asked for: {error}"
        if phone is None:
            return "is not connected: plug it in and unlock it"
        if (obstacle := phone.obstacle()) is not None or self._session.alive():
            return obstacle
        logger.info("launching the app on %s", phone.name)
        try:
            self._session.launch()
        except PhoneLostError as error:
            return f"is lost: {error.what}"
        time.sleep(wait_settings.poll_s)  # an app that cannot start ends at once
        return None

    def _wait(self, obstacle: str) -> None:
        wait_settings, name = self._session.wait_settings, self._session.phone.name
        assert self._lost_since is not None
        if time.monotonic() - self._lost_since > wait_settings.lost_s:
            raise PhoneGoneError(f"iPhone {name!r} {obstacle} (waited {wait_settings.lost_s:g} s)")
        if obstacle != self._told:
            logger.warning("iPhone %r %s; waiting up to %g s", name, obstacle, wait_settings.lost_s)
            self._told = obstacle
        time.sleep(wait_settings.look_s)
