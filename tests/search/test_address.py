"""What the text of a storage names, and that no secret of it is shown."""

from __future__ import annotations

import logging
import sqlite3
import string
from pathlib import Path
from urllib.parse import quote

import optuna
import pytest
import sqlalchemy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from nas.errors import NasError, StorageError
from nas.search import load_study, rescore, run_search
from nas.search.config import SearchConfig
from nas.search.storage.address import address, shown
from nas.search.storage.retrying import RetryingStorage
from tests.search.problem import FormulaLatency, FormulaQuality, small_space

SPACE = small_space()


def search(storage, name="s"):
    config = SearchConfig(sampler="random", evaluations=1)
    return run_search(SPACE, FormulaLatency(SPACE), FormulaQuality(), config, storage, name)


ODD_NAMES = [
    "what?.db",
    "100%.db",
    "100%20.db",
    "a#b.db",
    "a b.db",
    r"a\b.db",
    "a&cache=shared.db",
    "file.db?mode=memory",
    "{SCHEMA_VERSION}.db",
    "{}{0}.db",
    "prüfung-工.db",
    "'quoted\".db",
    "a:b@c.db",
    "line\nend.db",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_every_character_of_a_path_belongs_to_the_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)

    search(name)

    assert {path.name for path in tmp_path.iterdir()} == {f".{name}.lock", name}
    assert len(load_study(name, "s").evaluations) == len(load_study(Path(name), "s").evaluations) == 1


def test_a_name_that_is_no_text_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = b"caf\xe9.db".decode("utf-8", "surrogateescape")

    search(name)

    assert len(load_study(name, "s").evaluations) == 1


@pytest.mark.parametrize("text", ["~/runs/s.db", Path("~/runs/s.db"), "sqlite:///~/runs/s.db"])
def test_the_home_folder_is_the_users(tmp_path, monkeypatch, text):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert search(text).record.where == str(tmp_path / "runs" / "s.db")

    assert (tmp_path / "runs" / "s.db").is_file()
    assert len(load_study(tmp_path / "runs" / "s.db", "s").evaluations) == 1


@pytest.mark.parametrize("form", ["sqlite:///{}", "SQLite:///{}", "sqlite+pysqlite:///{}"])
def test_a_url_of_a_file_names_it_as_optuna_does(tmp_path, form):
    url = form.format(tmp_path / "a%20b.db")

    search(url)

    assert optuna.get_all_study_names(url.replace("SQL", "sql")) == ["s"]
    assert shown(url) == str(address(url).file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        (" \t", "is empty"),
        (":memory:", "keeps nothing"),
        ("file::memory:?cache=shared", "keeps nothing"),
        ("sqlite://", "keeps nothing"),
        ("sqlite:///", "keeps nothing"),
        ("sqlite:///:memory:", "keeps nothing"),
        ("sqlite:///file:name?mode=memory&uri=true", "keeps nothing"),
        ("sqlite:///what?.db", "no settings"),
        ("sqlite://host/study.db", "no host"),
        ("sqlite+aiosqlite:///study.db", "no such driver"),
        ("file:study.db", r"write \./file:"),
        ("sqlite:study.db", r"write \./sqlite:"),
        ("postgresql:/user:hidden@host/base", "neither a path nor a storage URL"),
        ("user:hidden@host://base", "not a storage URL"),
        ("://", "not a storage URL"),
        ("/dev/null", "keeps nothing"),
        ("runs/", "is a folder"),
        (".", "is a folder"),
        ("a\0b", "NUL"),
        ("~nobody-of-this-name/study.db", "cannot be used as a path"),
        ("loop.db", "loop"),
        ("n" * 300, "too long"),
        ("postgresql://host:port/base", "port"),
        ("postgresql://host:65536/base", "port is not a number from 1 to 65535"),
        ("postgresql://host:0/base", "port is not a number from 1 to 65535"),
        ("postgresql://host:" + "9" * 5000, "port is not a number"),
        ("postgresql://[::1/base", "not a storage URL"),
        ("postgresql://user@" + "h" * 70 + ".invalid/base", "cannot be used"),
        ("postgresql://user@no-such-host.invalid/base", "cannot be used"),
        ("postgresql://user@127.0.0.1:1/base?pasword=hidden", "cannot be used"),
        ("postgresql://user@127.0.0.1:1/base?connect_timeout=hidden", "cannot be used"),
        ("mysql://user:hidden@127.0.0.1:1/base", "cannot be used"),
        ("oracle://user:hidden@127.0.0.1:1/base", "cannot be used"),
        ("postgresql+asyncpg://user:hidden@127.0.0.1:1/base", "cannot be used"),
        ("nosuch+driver://user:hidden@host/base", "cannot be used"),
        ("http://user:hidden@host/base", "cannot be used"),
    ],
)
def test_what_keeps_no_study_is_refused_in_one_line(tmp_path, monkeypatch, text, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.db").symlink_to("loop.db")

    for call in (search, lambda storage: load_study(storage, "s"), lambda one: rescore(one, "s", FormulaQuality())):
        with pytest.raises(StorageError, match=words) as caught:
            call(text)
        message = str(caught.value)
        assert "hidden" not in message or "connect_timeout=hidden" in text
        assert "\n" not in message
        assert len(message) < 600
    assert [path.name for path in tmp_path.iterdir()] == ["loop.db"]


NAMES = st.text(string.ascii_lowercase, min_size=1, max_size=8)
PASSWORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=4, max_size=20)
FORMS = [
    "postgresql://{user}:{secret}@{host}:5432/{base}",
    "postgresql+psycopg2://{user}:{secret}@{host}/{base}",
    "postgresql://{user}:{secret}@/{base}?host=/tmp",
    "postgresql://:{secret}@{host}/{base}",
    "postgresql://{user}@{host}/{base}?password={secret}",
    "postgresql://{user}@{host}/{base}?sslmode=require&sslpassword={secret}",
    "mysql://{user}:{secret}@{host}:99999/{base}",
    "postgresql://{user}:{secret}@{host}:port/{base}",
    "postgresql://{user}:{secret}",
    "post gresql://{user}:{secret}@{host}/{base}",
    "postgresql:/{user}:{secret}@{host}/{base}",
    "postgres:{user}:{secret}@{host}",
    "{user}:{secret}@{host}://{base}",
]


@settings(max_examples=150, deadline=None)
@example(secret="@@@@", user="u", host="h", base="b", form=FORMS[0], quoted=False)
@example(secret="p@ss#w/or?d", user="u", host="h", base="b", form=FORMS[0], quoted=False)
@example(secret="12?x=1", user="u", host="h", base="b", form=FORMS[0], quoted=False)
@example(secret="p@ss&w", user="u", host="h", base="b", form=FORMS[4], quoted=True)
@given(secret=PASSWORDS, user=NAMES, host=NAMES, base=NAMES, form=st.sampled_from(FORMS), quoted=st.booleans())
def test_no_form_of_a_url_shows_its_password(secret, user, host, base, form, quoted):
    # Marked, so that it is found for sure and is no part of any other word.
    marked = f"Zq{secret}Qz"
    written = quote(marked, safe="") if quoted else marked
    text = form.format(user=user, secret=written, host=host, base=base)

    try:
        found = address(text)
    except NasError as error:
        says = str(error)
        texts = [says]
    else:
        driver = Exception(f'connection to "{text}" as {marked} ({written}) failed\nDETAIL: {written}')
        texts = [found.shown, found.reason(driver), found.reason(OperationalError("SELECT 1", {}, driver))]
        assert found.url is not None
        if form in FORMS[:4]:
            assert (found.url.host, found.url.password) == (None if "@/" in form else host, marked)
    for each in texts:
        assert "Zq" not in each
        assert "Qz" not in each
        assert "\n" not in each


def test_a_short_secret_blanks_out_no_other_words():
    found = address("postgresql://user:at@host/base")

    assert found.reason(Exception('password "at" failed at that')) == 'password "***" failed *** that'


def test_a_password_is_hidden_as_it_is_written_and_as_sqlalchemy_writes_it():
    found = address("postgresql://user:hunter@2@host/base")

    assert found.reason(Exception("no hunter@2, no hunter%402")) == "no ***, no ***"


def test_a_setting_given_more_than_once_has_all_its_values():
    found = address("postgresql://user@/base?host=one:5432&host=two:5433&sslmode=require")

    assert found.url == sqlalchemy.make_url("postgresql://user@/base?host=one:5432&host=two:5433&sslmode=require")


def test_an_outage_is_told_without_the_secret(tmp_path, caplog):
    where = address("postgresql://user:hunter2@host/base")
    backend = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/s.db")
    storage = RetryingStorage(backend, 0.1, where.reason)

    with caplog.at_level(logging.WARNING, "nas"):
        storage.note_outage(OperationalError("SELECT 1", {}, sqlite3.OperationalError("no hunter2 here")))

    assert "no *** here" in caplog.text
    assert "hunter2" not in caplog.text


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40) | st.from_regex(r"[a-z:/@?#%\[\]~.\\ ]{0,30}", fullmatch=True))
def test_any_text_is_an_address_or_one_line(text):
    try:
        found = address(text)
        said = found.shown
    except StorageError as error:
        found, said = None, str(error)
    assert found is None or (found.file is None) != (found.url is None)
    assert found is not None or said.splitlines() == [said]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("n" * 513, "512"),
        ("a\0", "control"),
        ("a\nb", "control"),
        ("\ud800", "control"),
    ],
)
def test_a_name_that_cannot_be_kept_or_read_is_refused(tmp_path, name, words):
    with pytest.raises(NasError, match=words) as caught:
        search(tmp_path / "s.db", name)

    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []
    search(tmp_path / "s.db", "s")
    with pytest.raises(NasError, match=words):
        load_study(tmp_path / "s.db", name)
