"""Addresses of storages: files and database servers, and how to show them without secrets.

Only `scheme://` makes a URL; in everything else, every character belongs to the name of a file. URLs are parsed here
alone. A driver that parsed them differently could print part of a password as the name of a host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import sqlalchemy
from sqlalchemy.engine import URL

from nas.errors import StorageError
from nas.files import user_path

HINT = "name a file, e.g. study.db, or a database, e.g. postgresql://user@host/base"
HIDDEN = "***"

_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+_.-]*)://", re.IGNORECASE)
_NO_PATH = re.compile(r"(file|sqlite|postgres|postgresql|mysql|mariadb|oracle|mssql|redis)(\+\w+)?:", re.IGNORECASE)

_TAIL = r"""
    (?P<host>\[[0-9a-fA-F:.%]+\] | [^:@/?\#\s\[\]]*) (?: : (?P<port>[0-9]*) )?
    (?: / (?P<base>[^@/?\#\s]*) )?
    (?: \? (?P<query> \w+=[^&\s]* (?: & \w+=[^&\s]* )* )? )?
"""
_PLAIN = re.compile(rf"(?: (?P<user>[^:@/?\#\s]*) (?: : (?P<password>[^@/?\#\s]*) )? @ )? {_TAIL}", re.VERBOSE)
# A password that contains @ : / ? # unquoted: it ends at the last @.
_UNQUOTED = re.compile(rf"(?P<user>[^:@/?\#\s]*) : (?P<password>.*) @ {_TAIL}", re.VERBOSE | re.DOTALL)

_TELLABLE = re.compile(
    r"host|hostaddr|port|user|dbname|sslmode|connect_timeout|application_name|charset|target_session_attrs|keepalives\w*"
)
"""Settings whose values are not secret."""

_SHORT = 4
"""Shorter secrets can be parts of ordinary words, so they are hidden only as whole words."""


@dataclass(frozen=True)
class Address:
    """The address of a storage.

    Args:
        shown: The text for messages, logs and files, without secrets.
        file: The SQLite file; `None` for a server.
        url: The server; `None` for a file.
        secrets: Texts that must never be shown, in every spelling.
    """

    shown: str
    file: Path | None = None
    url: URL | None = None
    secrets: tuple[str, ...] = ()

    def redacted(self, text: str) -> str:
        """A message of a driver or a library, without the secrets of this address."""
        for secret in sorted(self.secrets, key=len, reverse=True):
            pattern = re.escape(secret)
            text = re.sub(pattern if len(secret) >= _SHORT else rf"(?<!\w){pattern}(?!\w)", HIDDEN, text)
        return text

    def reason(self, error: BaseException) -> str:
        """The message of an exception of a driver or a library, in one line without secrets."""
        return self.redacted(reason_of(error))


def reason_of(error: BaseException) -> str:
    """The first line of the message of the innermost exception of a driver or a library."""
    inner = error
    while (cause := inner.__cause__) is not None and not str(getattr(inner, "orig", None) or "").strip():
        inner = cause
    said = str(getattr(inner, "orig", None) or inner).strip() or type(inner).__name__
    return said.splitlines()[0]


def address(storage: str | Path) -> Address:
    """Parse the address of a storage.

    Args:
        storage: A path, in which `~` is the home folder, or the URL of a database: `sqlite:///FILE` or
            `postgresql://USER:PASSWORD@HOST:PORT/BASE`.

    Raises:
        StorageError: It cannot be parsed, or names a storage that keeps nothing. The message has no secrets.
    """
    if isinstance(storage, Path):
        return _of_file(str(storage))
    if not storage.strip():
        raise StorageError("the storage of the study is empty", hint=HINT)
    scheme = _SCHEME.match(storage)
    if scheme is not None:
        kind, rest = scheme["scheme"].lower(), storage[scheme.end() :]
        return _of_sqlite(kind, rest) if kind.partition("+")[0] == "sqlite" else _of_server(kind, rest)
    if "://" in storage:
        raise StorageError("not a storage URL", where=f"{HIDDEN}://{HIDDEN}", hint=HINT)
    if storage.lower().startswith((":memory:", "file::memory:")):
        raise _forgetful(storage)
    if _NO_PATH.match(storage):
        kind = storage.partition(":")[0]
        raise StorageError("neither a path nor a storage URL", where=f"{kind}:{HIDDEN}",
                           hint=f"a URL has :// after {kind}; write ./{kind}:... for a file of that name")  # fmt: skip
    return _of_file(storage)


def shown(storage: str | Path) -> str:
    """The text of a storage for messages: the path of a file, or a URL without secrets; raises as `address`."""
    return address(storage).shown


def dashboard_url(storage: str | Path) -> str:
    """The URL by which optuna-dashboard opens a storage, without secrets; raises as `address`."""
    where = address(storage)
    if where.file is not None:
        return f"sqlite:///{where.file}"
    return re.sub("^postgres(ql)?://", "postgresql+psycopg://", where.shown)


def study_file(storage: str | Path) -> Path | None:
    """The SQLite file of a storage, `None` for a server; raises as `address`."""
    return address(storage).file


def _forgetful(text: str) -> StorageError:
    return StorageError("a database in memory keeps nothing of a study", where=text, hint=HINT)


def _of_file(text: str) -> Address:
    try:
        file = Path(user_path(text))
        file.resolve()
        is_folder = text.endswith("/") or file.is_dir()
        is_special = file.exists() and not file.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # too long, a loop of links, no home folder
        reason = getattr(error, "strerror", None) or error
        raise StorageError(f"cannot be used as a path: {reason}", where=repr(text), hint=HINT) from error
    if is_folder:
        raise StorageError("is a folder", where=text, hint=f"name a file in it, e.g. {text.rstrip('/')}/study.db")
    if is_special:
        raise StorageError("is not an ordinary file, so it keeps nothing", where=text, hint=HINT)
    return Address(str(file), file)


def _of_sqlite(kind: str, rest: str) -> Address:
    text = f"{kind}://{rest}"
    if kind not in {"sqlite", "sqlite+pysqlite"}:
        raise StorageError("no such driver for SQLite", where=text, hint="name the file alone, e.g. study.db")
    path, settings, _ = rest.partition("?")
    database = sqlalchemy.make_url(f"{kind}://{path}").database if path.startswith("/") else None
    memory = path in {"", "/"} or database in {":memory:", "file::memory:"} or "mode=memory" in rest
    if memory:
        raise _forgetful(text)
    if settings or not database or database.startswith("file:"):
        hint = "write sqlite:///FILE, or the path alone, in which every character belongs to the name"
        raise StorageError("a SQLite URL names a file, no host and no settings", where=text, hint=hint)
    return _of_file(database)


def _of_server(kind: str, rest: str) -> Address:
    parts = _PLAIN.fullmatch(rest) or _UNQUOTED.fullmatch(rest)
    port = parts["port"] if parts is not None else None
    if parts is None or (port and not 0 < int(port[:6]) < 65536):
        what = "not a storage URL" if parts is None else "the port is not a number from 1 to 65535"
        hint = "write scheme://user@host:port/base; in names, @ : / ? # are %40 %3A %2F %3F %23"
        raise StorageError(what, where=f"{kind}://{HIDDEN}", hint=hint)
    raw = {name: parts[name] or None for name in ("user", "password", "host", "base", "query")}
    settings = _settings(raw["query"] or "")
    password = _unquoted(raw["password"])
    if password is None and "password" in settings:
        password = settings.pop("password")[-1]
    url = URL.create(
        kind,
        username=_unquoted(raw["user"]),
        password=password,
        host=raw["host"].strip("[]") if raw["host"] else None,
        port=int(port) if port else None,
        database=_unquoted(raw["base"]),
        query={name: values[0] if len(values) == 1 else values for name, values in settings.items()},
    )
    return Address(_rendered(url), url=url, secrets=_secrets(url, raw["password"], raw["query"]))


def _settings(query: str) -> dict[str, tuple[str, ...]]:
    """Settings by name. A setting that is given more than once, such as `host`, has several values."""
    settings: dict[str, tuple[str, ...]] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        settings[name] = (*settings.get(name, ()), value)
    return settings


def _unquoted(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _rendered(url: URL) -> str:
    """The URL without its password and without its settings, which may contain one."""
    return url.set(query={}).render_as_string(hide_password=True) + (f"?{HIDDEN}" if url.query else "")


def _secrets(url: URL, raw_password: str | None, raw_query: str | None) -> tuple[str, ...]:
    """Each secret in three spellings: decoded, as it was given, and as SQLAlchemy writes it."""
    pairs = [pair.partition("=") for pair in (raw_query or "").split("&")]
    written = [value for name, _, value in pairs if not _TELLABLE.fullmatch(name)]
    settings = [(name, value) for name, values in url.normalized_query.items() for value in values]
    meant = [value for name, value in settings if not _TELLABLE.fullmatch(name)]
    password = str(url.password) if url.password else ""
    rendered = re.search(r"://[^:]*:([^@]*)@", url.render_as_string(hide_password=False)) if password else None
    quoted = rendered[1] if rendered is not None else ""
    return tuple(dict.fromkeys(secret for secret in (password, raw_password, quoted, *written, *meant) if secret))
