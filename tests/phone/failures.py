"""What devicectl says when something is wrong. Close to what people have reported, not word for word."""

from __future__ import annotations

from pathlib import Path

from tests.phone.desk import Record


class CommandFailedError(Exception):
    """A command of devicectl failed.

    Args:
        message: What it prints, after `ERROR: `.
        code: Number of the error.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    def record(self) -> Record:
        """The error as it stands in the JSON output."""
        description = {"NSLocalizedDescription": {"string": self.message}}
        return {"error": {"code": self.code, "domain": "com.apple.dt.CoreDeviceError", "userInfo": description}}


def unknown_device() -> CommandFailedError:
    """No phone has this name."""
    return _core_device("The specified device was not found.", 1000)


def no_connection() -> CommandFailedError:
    """The cable is out."""
    return _core_device("A connection to this device could not be established.", 1)


def developer_mode_disabled() -> CommandFailedError:
    """The user has not allowed developers in."""
    return _core_device("The operation failed because Developer Mode is disabled.", 1002)


def not_installed(bundle: str) -> CommandFailedError:
    """The phone has no such app."""
    return _core_device(f"The requested application {bundle} is not installed.", 10002)


def locked(bundle: str) -> CommandFailedError:
    """The screen is locked."""
    because = (
        f"Unable to launch {bundle} because the device was not, or could not be, unlocked. "
        "(FBSOpenApplicationErrorDomain error 7 (0x07)) FBSOpenApplicationErrorDomain reason: Locked"
    )
    return _core_device(f"The application failed to launch.\nERROR: {because}", 10002)


def no_such_file(path: Path) -> CommandFailedError:
    """There is nothing to copy. This is also what every poll for an answer meets that is not there yet."""
    return _core_device(f"Failed to retrieve the file node for {path.name}: no such file.", 7000)


def _core_device(message: str, code: int) -> CommandFailedError:
    return CommandFailedError(f"{message} (com.apple.dt.CoreDeviceError error {code})", code)
