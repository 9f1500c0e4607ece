import json
import os

import pytest

from longtake.core.errors import UserError
from longtake.core.files import atomic_path, ensure_writable_folder, printable, remove, write_json


def fill(folder, **files):
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "parents" / "video.mp4"
    with atomic_path(path) as partial:
        assert partial.suffix == ".mp4"  # writers choose the format by it
        assert partial.parent == path.parent
        partial.write_text("half")
        assert not path.exists()
        partial.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_replaces_a_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_with_all_that_is_in_it(tmp_path):
    path = tmp_path / "model"
    with atomic_path(path) as partial:
        fill(partial, weights="1", config="2")
        fill(partial / "inner", deep="3")
        assert not path.exists()
    assert {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} == {
        "weights",
        "config",
        "inner/deep",
    }
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("was_folder", [True, False])
def test_a_folder_replaces_what_was_there_and_keeps_nothing_of_it(tmp_path, was_folder):
    path = tmp_path / "model"
    if was_folder:
        fill(path, old="1", both="old")
    else:
        path.write_text("old")
    with atomic_path(path) as partial:
        fill(partial, both="new")
    assert [file.name for file in path.iterdir()] == ["both"]
    assert (path / "both").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path, error):
    (tmp_path / "file").write_text("old")
    fill(tmp_path / "folder", inside="old")

    def write_half(name, write):
        with atomic_path(tmp_path / name) as partial:
            write(partial)
            raise error("in the middle")

    for name, write in {
        "file": lambda partial: partial.write_text("half"),
        "folder": lambda partial: fill(partial, half="new"),
        "other": lambda partial: fill(partial, half="new"),
        "nothing": lambda partial: None,
    }.items():
        with pytest.raises(error, match="in the middle"):
            write_half(name, write)
    assert (tmp_path / "file").read_text() == "old"
    assert (tmp_path / "folder" / "inside").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert len(list((tmp_path / "folder").iterdir())) == 1


def test_two_writers_of_one_path_do_not_meet(tmp_path):
    path = tmp_path / "a"
    with atomic_path(path) as first, atomic_path(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # it ends last
    assert list(tmp_path.iterdir()) == [path]


def test_a_parent_that_is_a_file_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.mp4", tmp_path / "file" / "deeper" / "a.mp4"):
        with pytest.raises(UserError, match=f"cannot create folder {path.parent}"), atomic_path(path):
            pytest.fail("it must not come so far")
    assert (tmp_path / "file").is_file()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_the_users_mistake(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match=f"cannot write to folder {tmp_path}: permission denied"):
            ensure_writable_folder(tmp_path)
        with pytest.raises(UserError, match=r"cannot create folder .*: Permission denied"):
            ensure_writable_folder(tmp_path / "new")
    finally:
        tmp_path.chmod(0o700)


def test_remove(tmp_path):
    fill(tmp_path / "folder", a="1")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    remove(tmp_path / "link")
    assert (tmp_path / "folder" / "a").is_file()  # the link goes, not what it points to
    remove(tmp_path / "folder")
    remove(tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_names_of_files_become_one_line_that_can_be_printed():
    ordinary = "a b/影 é\u0301 [red]#0.mp4"
    assert printable(ordinary) == ordinary
    assert printable("two\nlines\t\x1b[31m\x85.mp4") == r"two\nlines\t\x1b[31m\x85.mp4"
    assert printable("line\u2028paragraph\u2029") == r"line\u2028paragraph\u2029"
    assert printable(os.fsdecode(b"\xff\xfe.mp4")) == r"\xff\xfe.mp4"


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, 2]})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": [1, 2]}
    assert path.read_text().endswith("}\n")
    assert list(tmp_path.iterdir()) == [path]


def test_writing_into_a_folder_opens_none_of_its_other_files(tmp_path, monkeypatch):
    (tmp_path / "another.mp4").write_text("being written by another process")
    opened = []
    real_open = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **named: opened.append(path) or real_open(path, *rest, **named))
    with atomic_path(tmp_path / "mine.mp4") as partial:
        partial.write_text("whole")
    assert {path.name for path in opened} == {partial.name, tmp_path.name}
