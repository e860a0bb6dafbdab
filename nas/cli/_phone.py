"""`nas profile --runtime coreml --device NAME`: the options of a connected iPhone, and the call they lead to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from nas.latency import LatencyTable
    from nas.runtimes import Runtime
    from nas.runtimes.phone import Signing
    from nas.space import SearchSpace

_PANEL = "On an iPhone"

ProfiledDeviceOption = Annotated[
    str | None,
    typer.Option(
        help="With --runtime coreml, the connected iPhone to measure on, see `nas devices` (default: this Mac). With "
        "other runtimes, the name to record (default: this machine's processor)."
    ),
]
TeamOption = Annotated[
    str | None,
    typer.Option(
        "--development-team", help="Identifier of the team that signs the app on the phone.", rich_help_panel=_PANEL
    ),
]
ProvisioningOption = Annotated[
    str | None,
    typer.Option(
        "--provisioning-profile",
        help="UUID of a provisioning profile for the app, instead of a team.",
        rich_help_panel=_PANEL,
    ),
]
BundleOption = Annotated[
    str | None,
    typer.Option(
        "--bundle-identifier",
        help="Identifier of the app that the provisioning profile is for.",
        rich_help_panel=_PANEL,
    ),
]
PairsOption = Annotated[
    int, typer.Option(help="Pairs of calls to measure of each block, at least.", rich_help_panel=_PANEL)
]
MaxPairsOption = Annotated[
    int, typer.Option(help="Pairs of calls after which a block is done, even if not precise.", rich_help_panel=_PANEL)
]
CopiesOption = Annotated[
    int, typer.Option("--max-copies", help="Most copies of a block in one chain.", rich_help_panel=_PANEL)
]
CoolDownOption = Annotated[
    float,
    typer.Option(
        help="First pause, in seconds, when the phone has become slower; each further pause is twice as long.",
        rich_help_panel=_PANEL,
    ),
]
WaitOption = Annotated[
    float,
    typer.Option(
        "--wait-seconds", help="Seconds to wait for a phone that is disconnected or locked.", rich_help_panel=_PANEL
    ),
]

PHONE_ONLY = (
    "development_team", "provisioning_profile", "bundle_identifier", "pairs", "max_pairs", "max_copies", "cool_down_s",
    "wait_s",
)  # fmt: skip
LOCAL_ONLY = ("rounds", "max_seconds", "min_seconds", "memory_budget_bytes")


def refuse_options(context: typer.Context, names: Iterable[str], where: str) -> None:
    """Raise `ConfigError` for the first of these options that was given: it has no meaning there."""
    from nas.errors import ConfigError

    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for name in names:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = options[name]
            raise ConfigError(f"{option} has no meaning {where}", where="options", hint=f"leave out {option}")


def signing(team: str | None, profile: str | None, bundle: str | None) -> Signing:
    """How the app is signed; raises `ConfigError` for options that contradict each other."""
    from nas.errors import ConfigError
    from nas.runtimes.phone import Signing

    if team is not None and profile is not None:
        hint = "a profile already names its team: leave out one of them"
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
    """Measure a space on a connected iPhone; raises `ConfigError` for impossible options."""
    from nas.files import parse
    from nas.latency import PhoneMeasurementSettings, profile_phone
    from nas.runtimes.phone import WaitSettings

    how = parse(measurement, PhoneMeasurementSettings, where="options")
    wait_settings = parse({"lost_s": wait_s}, WaitSettings, where="options")
    return profile_phone(
        space, device, table, runtime=runtime, signing=signing, measurement=how, wait_settings=wait_settings
    )
