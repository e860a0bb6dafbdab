"""What all conversions share."""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
import torch

from nas.errors import StorageError
from nas.runtimes import get_runtime
from nas.runtimes.conversion import quiet, staged


def test_staged_files_arrive_together_and_replace_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model.package"
    for content in ("old", "new"):
        with staged(target) as temporary:
            temporary.mkdir()
            (temporary / "weights").write_text(content)
            temporary.with_name("model.data").write_text(content)
    assert (target / "weights").read_text() == "new"
    assert (target.parent / "model.data").read_text() == "new"
    assert sorted(item.name for item in target.parent.iterdir()) == ["model.data", "model.package"]


def test_a_failure_while_staging_keeps_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_text("old")

    def interrupted() -> None:
        with staged(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_that_cannot_be_copied_is_a_storage_error(tmp_path: Path) -> None:
    """What `shutil.copytree` raises on a full disk has no error number."""
    target = tmp_path / "model.mlpackage"
    with pytest.raises(StorageError, match=r"model\.mlpackage: cannot be written: No space left"), staged(target):
        raise shutil.Error([("from", "to", "No space left on device")])
    assert not list(tmp_path.iterdir())


def test_a_full_folder_for_temporary_files_is_named(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Converters put files there, and do not say that it is full."""
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    (small_disk / "others").write_bytes(bytes(2**20 - 2**14))
    module = torch.nn.Conv2d(64, 64, 3).eval()
    with pytest.raises(StorageError, match="disk: cannot write: No space left on device; free some space"):
        get_runtime("coreml").convert(module, (torch.zeros(1, 64, 8, 8),), ("x",), small_disk.parent / "m.mlpackage")


def test_silence_ends_with_the_conversion(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("talkative.library")

    def talk() -> None:
        logger.warning("a remark")
        warnings.warn("a warning", stacklevel=1)
        sys.stderr.write("a progress bar\n")
        sys.stdout.write("a greeting\n")

    with quiet("talkative"):
        talk()
    assert (caplog.text, capsys.readouterr()) == ("", ("", ""))
    with pytest.warns(UserWarning, match="a warning"):
        talk()
    assert "a remark" in caplog.text
    assert capsys.readouterr() == ("a greeting\n", "a progress bar\n")
