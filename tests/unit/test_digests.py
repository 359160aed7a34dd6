import hashlib
import json
import os
from pathlib import Path

import pytest

from trm_repro import digests
from trm_repro.digests import Cache, Digest, difference, digest_file, digest_tree, identity
from trm_repro.errors import MissingPrerequisite


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    (root / "inner").mkdir(parents=True)
    (root / "a").write_bytes(b"alpha")
    (root / "inner" / "b").write_bytes(b"")
    return root


def test_a_digest_is_sha256_and_bytes(tree):
    assert digest_file(tree / "a") == Digest(hashlib.sha256(b"alpha").hexdigest(), 5)


def test_a_file_is_read_in_pieces_and_what_lasts_shows_how_far_it_is(tree, monkeypatch, capsys):
    for name in ("TRM_REPRO_TERMINAL", "TRM_REPRO_LOG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("trm_repro.digests.CHUNK", 10**6)
    data = os.urandom(3 * 10**6 + 1)
    (tree / "a").write_bytes(data)
    found = digest_tree(tree)
    assert found["a"] == Digest(hashlib.sha256(data).hexdigest(), len(data)) and found["inner/b"].bytes == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("trm_repro.digests.SOON", 1e-9)
    assert digest_tree(tree) == found
    assert capsys.readouterr().err.splitlines()[-1].startswith("hashing: 3/3 MB, 100 %")


def test_moving_a_folder_changes_nothing(tree, tmp_path):
    before = digest_tree(tree)
    assert list(before) == ["a", "inner/b"]
    moved = tree.rename(tmp_path / "elsewhere")
    assert digest_tree(moved) == before


def test_changing_any_file_is_named(tree):
    before = digest_tree(tree)
    (tree / "a").write_bytes(b"alphA")
    (tree / "c").touch()
    (tree / "inner" / "b").unlink()
    lines = difference(before, digest_tree(tree))
    assert [line.split(":")[0:2] for line in lines] == [["different", " a"], ["extra", " c"], ["missing", " inner/b"]]
    assert before["a"].sha256 in lines[0]


def test_missing_files_and_folders_are_errors(tmp_path):
    with pytest.raises(MissingPrerequisite, match="nowhere"):
        digest_file(tmp_path / "nowhere")
    with pytest.raises(MissingPrerequisite, match="nowhere"):
        digest_tree(tmp_path / "nowhere")


def test_the_cache_is_believed_only_while_the_identity_is_the_same(tree, tmp_path, monkeypatch):
    monkeypatch.delenv("VERIFY", raising=False)
    path, changed = tmp_path / "cache.json", hashlib.sha256(b"ALPHA").hexdigest()
    cache = Cache(path)
    first = digest_tree(tree, cache)
    cache.save()
    stat = (tree / "a").stat()
    (tree / "a").write_bytes(b"ALPHA")  # same size, same inode …
    os.utime(tree / "a", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # … same time: ctime, which nobody sets, tells
    assert digest_tree(tree, Cache(path))["a"].sha256 == changed
    # whoever can write the file can write the cache: what is written down about a run is never from there
    forged = {key: [*identity(Path(key)), value[-1]] for key, value in json.loads(path.read_bytes()).items()}
    path.write_text(json.dumps(forged))
    assert digest_tree(tree, Cache(path)) == first
    assert digest_tree(tree, Cache(path, believed=False))["a"].sha256 == changed
    monkeypatch.setenv("VERIFY", "full")
    assert digest_tree(tree, Cache(path))["a"].sha256 == changed


def test_a_damaged_cache_is_an_empty_one(tree, tmp_path):
    for text in ("{", "[1]", json.dumps({str(tree / "a"): 7})):
        (tmp_path / "cache.json").write_text(text)
        assert digest_tree(tree, Cache(tmp_path / "cache.json")) == digest_tree(tree)


@pytest.mark.parametrize("extra", [0, 1, 4096, 5_000_001])
@pytest.mark.parametrize("without", [None, "O_DIRECT", "preadv", "mincore"])
def test_a_large_file_read_past_the_page_cache_has_the_same_digest(tmp_path, monkeypatch, extra, without):
    content, path = os.urandom(2 * digests._BLOCK + extra), tmp_path / "large"
    path.write_bytes(content)
    monkeypatch.setattr(digests, "_LARGE", 1)
    monkeypatch.setattr(digests, "_is_cached", lambda file, size: without == "mincore")
    past, before = [], digests._hash_past_cache
    monkeypatch.setattr(digests, "_hash_past_cache", lambda *given: past.append(before(*given)) or past[-1])
    if without == "O_DIRECT":  # a file system that refuses it, or takes it and refuses to read
        monkeypatch.setattr(os, "O_DIRECT", os.O_DIRECTORY)
    if without == "preadv":
        whole = os.preadv
        monkeypatch.setattr(
            os, "preadv", lambda file, into, at: whole(file, into, at) if at == 0 else whole(-1, into, at)
        )
    assert digest_tree(tmp_path)["large"] == Digest(hashlib.sha256(content).hexdigest(), len(content))
    whole = len(content) // digests._BLOCK * digests._BLOCK
    expected = {None: [whole], "mincore": [], "O_DIRECT": [0], "preadv": [digests._BLOCK]}[without]
    assert past in (expected, [0])  # a folder in memory takes no O_DIRECT


def test_what_the_page_cache_holds_is_read_from_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))  # just written: there
    with path.open("rb") as file:
        assert digests._is_cached(file.fileno(), 1 << 20)
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        dropped = digests._is_cached(file.fileno(), 1 << 20)
    assert dropped in (True, False)  # a folder in memory stays there
