"""`nas profile --runtime coreml --device NAME`, once its options are parsed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from nas.latency import LatencyTable
    from nas.runtimes import Runtime
    from nas.runtimes.phone import Signing
    from nas.space import SearchSpace


PHONE_ONLY = (
    "development_team", "provisioning_profile", "bundle_identifier", "pairs", "max_pairs", "max_copies", "cool_down_s",
    "wait_s",
)  # fmt: skip
LOCAL_ONLY = ("rounds", "max_seconds", "min_seconds", "memory_budget_bytes")


def refuse_options(context: typer.Context, names: Iterable[str], where: str) -> None:
    """Raise `ConfigError` for the first of these options that was given: it means nothing there."""
    from nas.errors import ConfigError

    options = {each.name: each.opts[0] for each in context.command.params}
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = options[name]
            raise ConfigError(f"{option} means nothing {where}", where="options", hint=f"leave out {option}")


def signing(team: str | None, profile: str | None, bundle: str | None) -> Signing:
    """How the app is signed; raises `ConfigError` for what cannot be."""
    from nas.errors import ConfigError
    from nas.runtimes.phone import Signing

    if team is not None and profile is not None:
        hint = "a profile belongs to a team already: leave one of them out"
        raise ConfigError("--development-team and --provisioning-profile exclude each other", hint=hint)
    if profile is not None and bundle is None:
        hint = "name the app that the profile is for with --bundle-identifier"
        raise ConfigError("--provisioning-profile needs --bundle-identifier", hint=hint)
    return Signing(team, profile, bundle)


def profile_on_phone(
    space: SearchSpace,
    device: str,
    table: Path,
    runtime: Runtime,
    *,
    signing: Signing,
    measurement: dict[str, Any],
    wait_s: float,
) -> LatencyTable:
    """See `nas.latency.profile_phone`; raises `ConfigError` for impossible options."""
    from nas.files import parse
    from nas.latency import PhoneMeasurementSettings, profile_phone
    from nas.runtimes.phone import WaitSettings

    how = parse(measurement, PhoneMeasurementSettings, where="options")
    wait_settings = parse({"lost_s": wait_s}, WaitSettings, where="options")
    return profile_phone(
        space, device, table, runtime=runtime, signing=signing, measurement=how, wait_settings=wait_settings
    )
