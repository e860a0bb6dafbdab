"""Waiting for a lost phone, and launching its app again."""

from __future__ import annotations

import logging
import time

from nas.errors import RuntimeUnavailableError
from nas.runtimes.phone.devicectl import list_phones
from nas.runtimes.phone.errors import PhoneLostError
from nas.runtimes.phone.session import PhoneSession

logger = logging.getLogger("nas")


class PhoneGoneError(RuntimeUnavailableError):
    """A lost phone did not come back in time."""


class Recovery:
    """Restores a session, within `WaitSettings.lost_s` of the phone's last answer.

    Args:
        session: The session.
    """

    def __init__(self, session: PhoneSession) -> None:
        self._session = session
        self._lost_since: float | None = None
        self._logged: str | None = None

    def answered(self) -> None:
        """Record that the phone has answered."""
        self._lost_since = self._logged = None

    def restore(self) -> bool:
        """Wait until the phone is ready and its app runs; launch the app if it does not run.

        Returns:
            Whether the phone was at fault, because it was disconnected or locked. Otherwise the request was at fault.

        Raises:
            PhoneGoneError: It did not come back in time.
            RuntimeUnavailableError: Only its owner can make it ready.
        """
        self._lost_since = self._lost_since or time.monotonic()
        phone_at_fault = False
        while (obstacle := self._obstacle()) is not None:
            phone_at_fault = True
            self._wait(obstacle)
        return phone_at_fault

    def _obstacle(self) -> str | None:
        """Why the phone cannot be used, or `None`; launches the app if only that is missing."""
        wait_settings = self._session.wait_settings
        try:
            udid = self._session.phone.udid
            phone = next((phone for phone in list_phones() if phone.udid == udid), None)
        except RuntimeUnavailableError as error:
            return f"cannot be listed: {error}"
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
        if obstacle != self._logged:
            logger.warning("iPhone %r %s; waiting up to %g s", name, obstacle, wait_settings.lost_s)
            self._logged = obstacle
        time.sleep(wait_settings.look_s)
