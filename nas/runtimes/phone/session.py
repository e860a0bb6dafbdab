"""An app on a phone, for the duration of a job: it loads models and calls them."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from nas.errors import RuntimeUnavailableError
from nas.runtimes.base import Array
from nas.runtimes.conversion import quiet
from nas.runtimes.phone.devicectl import ConnectedPhone, last_line
from nas.runtimes.phone.errors import ModelFailedError, PhoneLostError
from nas.runtimes.phone.placement import ComputePlacement
from nas.runtimes.phone.wait_settings import WaitSettings

_NS_PER_MS = 1e6
_T = TypeVar("_T")


@dataclass(frozen=True)
class Signing:
    """How the app that runs the models is signed: by a team, or with a provisioning profile.

    Args:
        development_team: Identifier of the team; Xcode makes the profile.
        provisioning_profile: UUID of an existing profile.
        bundle_identifier: Identifier of the app; if there is a profile, the one that the profile names.
    """

    development_team: str | None = None
    provisioning_profile: str | None = None
    bundle_identifier: str | None = None


@dataclass(frozen=True)
class Prediction:
    """One call of a model.

    Args:
        duration_ms: Duration, by the phone's own clock.
        output: The output.
    """

    duration_ms: float
    output: Array


class PhoneModel:
    """A model that `PhoneSession.load` has loaded on a phone.

    Args:
        service: coremltools' object for the model.
        convert: Turns arguments into named inputs.
        compiled: Folder of the compiled model.
    """

    def __init__(self, service: Any, convert: Callable[[list[Array]], dict[str, Array]], compiled: Path) -> None:
        self.service, self.convert, self.compiled = service, convert, compiled

    @property
    def load_ms(self) -> float | None:
        """Duration of loading on the phone; `None` if it does not report it."""
        duration_ns = self.service.load_duration_in_nano_seconds
        return duration_ns / _NS_PER_MS if duration_ns else None


class PhoneSession:
    """An app on a phone that loads models and calls them, one request at a time.

    Every request is a round trip of seconds: four copies of files, and half a second's wait or more. Use within a
    `with` block. All methods raise `PhoneLostError` if the connection or the app is lost: call `launch` when the phone
    is back, and load the models again.

    Args:
        phone: The phone; see `find_phone`.
        signing: How the app is signed.
        wait_settings: How long to wait.
    """

    def __init__(
        self, phone: ConnectedPhone, signing: Signing | None = None, wait_settings: WaitSettings | None = None
    ) -> None:
        self.phone, self.signing, self.wait_settings = phone, signing or Signing(), wait_settings or WaitSettings()
        self.round_trips = 0
        self.launches = 0
        self._folder = Path()
        self._device: Any = None
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        with quiet("coremltools"):  # it warns about other libraries' versions
            import nas.runtimes.phone.client  # noqa: F401 - before a folder is made

        self._folder = _work_folder()
        self._runner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._runner.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def launch(self) -> None:
        """Launch the app; it is built the first time only. Models of an earlier launch have to be loaded again.

        Raises:
            PhoneLostError: The phone is not connected.
            RuntimeUnavailableError: The app cannot be built or installed, and the user has to act.
        """
        from nas.runtimes.phone.client import BuildError, client_errors, connected_device, credentials

        self.stop()
        device = connected_device(self.phone.identifier)
        signing = self.signing
        given = credentials(signing.development_team, signing.provisioning_profile, signing.bundle_identifier)
        try:
            with quiet(), client_errors():  # the client draws a progress bar of its own
                self._device = self._runner.run(device.prepare_for_model_debugging(given, self._folder))
        except PhoneLostError as error:
            raise _setup_error(error) or error from error
        except BuildError as error:
            raise _build_error(error, signing) from error
        except (ValueError, AttributeError) as error:  # a tool is missing; the build has left no app
            raise RuntimeUnavailableError(f"the app for the phone cannot be prepared: {error}") from error
        self.launches += 1

    def alive(self) -> bool:
        """Whether the app runs: it ends when the cable is pulled, or when the phone or its owner ends it."""
        return self._device is not None and bool(self._device.session.is_alive())

    def stop(self) -> None:
        """End the app; its models are unloaded."""
        if self._device is not None:
            from nas.runtimes.phone.client import end_app

            end_app(self._device.session)
            self._device = None

    def load(self, package: Path, compute_unit: str) -> PhoneModel:
        """Compile a package on this machine and load it on the phone.

        Args:
            package: The package.
            compute_unit: One of `nas.runtimes.core_ml.runtime.COMPUTE_UNITS`.

        Raises:
            ModelFailedError: It cannot be compiled, or the phone refuses it.
            OutOfMemoryError: It does not fit.
        """
        from nas.runtimes.phone.client import arguments, load

        self._require_app()
        compiled = self._compile(package)
        service = self._ask(load(self._device, compiled, compute_unit, self.wait_settings))
        return PhoneModel(service, arguments(package), compiled)

    def predict(self, model: PhoneModel, inputs: Sequence[Array]) -> Prediction:
        """Call a model once.

        Raises:
            ModelFailedError: The phone refuses, or does not say how long it took.
            OutOfMemoryError: The call does not fit.
        """
        self._require_app()
        outputs = self._ask(model.service.predict(model.convert(list(inputs))))
        duration_ns = model.service.last_predict_duration_in_nano_seconds
        if not duration_ns:
            raise ModelFailedError("the phone did not say how long the call took")
        return Prediction(duration_ns / _NS_PER_MS, outputs["output"])

    def placement(self, model: PhoneModel) -> ComputePlacement:
        """Where a model's operations run, by the phone's compute plan; raises as `predict`."""
        self._require_app()
        return ComputePlacement.of_plan(self._ask(model.service.retrieve_compute_plan()))

    def unload(self, model: PhoneModel) -> None:
        """Free the memory of a model, here and on the phone; raises as `predict`."""
        shutil.rmtree(model.compiled, ignore_errors=True)
        self._require_app()
        self._ask(model.service.unload())

    def _ask(self, call: Coroutine[Any, Any, _T]) -> _T:
        self.round_trips += 1
        try:
            return self._runner.run(call)
        except (TypeError, KeyError) as error:  # the client raises these if parts of an answer are missing
            raise ModelFailedError(f"the phone's answer is not complete: {error}") from error

    def _require_app(self) -> None:
        if not self.alive():
            raise PhoneLostError("the app on the phone does not run")

    def _compile(self, package: Path) -> Path:
        from coremltools.models.utils import compile_model

        folder = Path(tempfile.mkdtemp(dir=self._folder, prefix="model-"))
        try:
            return Path(compile_model(str(package), str(folder / "model.mlmodelc")))
        except (RuntimeError, ValueError) as error:
            raise ModelFailedError(f"Core ML cannot compile it: {' '.join(str(error).split())}") from error


def _work_folder() -> Path:
    """A folder for the app and for messages, without spaces: the client passes names to the shell unquoted."""
    folder = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="nas-phone-", dir="/tmp" if " " in folder else folder))  # noqa: S108


def _setup_error(error: PhoneLostError) -> RuntimeUnavailableError | None:
    """The error of installing the app, if only the user can fix it."""
    if "Developer Mode" not in error.what:
        return None
    hint = "switch it on in Settings > Privacy & Security > Developer Mode, and run the same command again"
    return RuntimeUnavailableError("the phone is not in developer mode", hint=hint)


def _build_error(error: Exception, signing: Signing) -> RuntimeUnavailableError:
    """The error of xcodebuild; the client drops it, but the exception before has its output."""
    printed = getattr(error.__context__, "output", None) or b""
    lines = [line for line in printed.decode(errors="replace").splitlines() if "error:" in line]
    reason = lines[0].partition("error:")[2].strip() if lines else last_line(printed) or "it does not say why"
    hint = "name your team with --development-team ID (Xcode > Settings > Accounts shows it), see docs/iphone.md"
    if signing.development_team or signing.provisioning_profile:
        hint = (
            "check the team, the profile and the bundle identifier in Xcode > Settings > Accounts, see docs/iphone.md"
        )
    return RuntimeUnavailableError(f"Xcode cannot build the app for the phone: {reason}", hint=hint)
