import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from longtake.core.errors import UserError
from longtake.data.captions import read_captions
from longtake.data.index import index_folder, usable


def names(index):
    return [entry.path.relative_to(index.root).as_posix() for entry in index.entries]


def test_classes_are_the_sorted_parent_folders(make_folder):
    root = make_folder({"wave/b.npy": 5, "wave/a.npy": 4, "train/bend/z.npy": 3, "test/bend/y.npy": 6, "loose.npy": 2})
    (root / "README.txt").write_text("not a video")
    (root / ".hidden.npy").write_text("passed over")
    index = index_folder(root)
    assert index.classes == ("bend", "wave")
    assert names(index) == ["loose.npy", "test/bend/y.npy", "train/bend/z.npy", "wave/a.npy", "wave/b.npy"]
    assert [entry.label for entry in index.entries] == [-1, 0, 0, 1, 1]
    assert [entry.info.num_frames for entry in index.entries] == [2, 6, 3, 4, 5]
    assert index.unreadable == ()


def test_videos_directly_in_the_folder_have_no_class(make_folder):
    index = index_folder(make_folder({"a.npy": 2, "b.npy": 2}))
    assert index.classes == ()
    assert [entry.label for entry in index.entries] == [-1, -1]


def test_a_folder_of_frames_is_one_video_and_pictures_beside_videos_are_none(make_folder):
    root = make_folder({"walk/a.npy": 3})
    frame = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    frame.save(root / "walk" / "sheet.png")
    folder = root / "run" / "clip"
    folder.mkdir(parents=True)
    for number in range(4):
        frame.save(folder / f"{number:03}.png")
    index = index_folder(root)
    assert names(index) == ["run/clip", "walk/a.npy"]
    assert index.classes == ("run", "walk")
    assert index.entries[0].info.num_frames == 4


def test_unreadable_videos_are_listed_once_and_left_out(make_folder):
    root = make_folder({"x/a.npy": 3, "x/c.npy": 3})
    (root / "x" / "b.mp4").write_text("this is no video")
    (root / "y").mkdir()
    (root / "y" / "d.npy").write_bytes(b"")
    index = index_folder(root)
    assert names(index) == ["x/a.npy", "x/c.npy"]
    assert [bad.path.name for bad in index.unreadable] == ["b.mp4", "d.npy"]
    assert all(bad.reason and str(root) not in bad.reason and "\n" not in bad.reason for bad in index.unreadable)
    assert index.classes == ("x", "y")  # labels do not depend on what happens to be damaged


def test_threads_give_the_same_index_and_progress_counts_every_video(make_folder):
    root = make_folder({f"{number % 3}/{number}.npy": 2 + number for number in range(9)})
    (root / "1" / "bad.npy").write_bytes(b"bad")
    calls = []
    index = index_folder(root, num_workers=3, progress=lambda done, total: calls.append((done, total)))
    assert index == index_folder(root)
    assert calls == [(done, 10) for done in range(1, 11)]


def test_links_that_lead_back_up_end(make_folder):
    root = make_folder({"x/a.npy": 3})
    (root / "x" / "loop").symlink_to(root, target_is_directory=True)
    assert names(index_folder(root)) == ["x/a.npy"]


def test_usable_splits_off_short_videos(make_folder):
    index = index_folder(make_folder({"p/a.npy": 4, "q/b.npy": 5, "q/c.npy": 6}))
    fitting, too_short = usable(index, 5)
    assert names(fitting) == ["q/b.npy", "q/c.npy"]
    assert fitting.classes == ("p", "q")
    assert [(bad.path.name, bad.reason) for bad in too_short] == [("a.npy", "too short: 4 frames, a clip needs 5")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.mkdir(), "is empty"),
        (lambda root: (root.mkdir(), (root / "a.txt").write_text("a")), "holds no video"),
        (lambda root: root.write_text("a"), "is a file"),
    ],
)
def test_what_is_no_folder_of_videos_is_one_line(tmp_path, make, message):
    root = tmp_path / "data"
    make(root)
    with pytest.raises(UserError, match=message) as caught:
        index_folder(root)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_that_may_not_be_read(make_folder, monkeypatch):
    root = make_folder({"x/a.npy": 3, "y/b.npy": 3})
    locked = {root / "x"}
    look_into = Path.iterdir

    def iterdir(folder):
        if folder in locked:
            raise PermissionError(13, "Permission denied", str(folder))
        return look_into(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    index = index_folder(root)
    assert [entry.path for entry in index.entries] == [root / "y" / "b.npy"]
    assert [(file.path, file.reason) for file in index.unreadable] == [(root / "x", "permission denied")]
    locked.add(root)
    with pytest.raises(UserError, match="cannot read folder") as caught:
        index_folder(root)
    assert "\n" not in str(caught.value)


def test_a_folder_that_may_be_listed_but_not_entered_names_its_files(make_folder, monkeypatch):
    root = make_folder({"x/a.npy": 3, "y/b.npy": 3})
    look_up = os.stat

    def stat(path, *arguments, **options):
        if "x/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return look_up(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    index = index_folder(root)
    assert names(index) == ["y/b.npy"]
    assert [(file.path, file.reason) for file in index.unreadable] == [(root / "x" / "a.npy", "permission denied")]


CAPTIONS = {"x/a.npy": 'a "quoted", long one', "b.npy": "zwei Wörter"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("captions.json", json.dumps(CAPTIONS)),
        ("captions.csv", 'path,caption\nx/a.npy,"a ""quoted"", long one"\nb.npy,zwei Wörter\n'),
        ("captions.csv", '\ufeffx/a.npy,"a ""quoted"", long one"\r\nb.npy,zwei Wörter'),
        ("metadata.jsonl", "".join(json.dumps({"file_name": k, "text": v}) + "\n\n" for k, v in CAPTIONS.items())),
    ],
)
def test_captions_are_read_from_each_format(make_folder, name, content):
    root = make_folder({"x/a.npy": 2, "b.npy": 2, "c.npy": 2})
    (root / name).write_text(content, encoding="utf-8")
    index = index_folder(root)
    texts = dict(zip(names(index), (entry.text for entry in index.entries), strict=True))
    assert texts == CAPTIONS | {"c.npy": ""}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("captions.json", '{"nope.npy": "x"}', "entry 1 names 'nope.npy'"),
        ("captions.json", '{"a.npy": "x", "a.npy": "y"}', "entry 2 gives 'a.npy' a second caption"),
        ("captions.json", '{"a.npy": 3}', "entry 1 must be a path and its caption"),
        ("captions.json", '["a.npy"]', "one JSON object"),
        ("captions.json", '{"a.npy": ', "line 1 is not JSON"),
        ("captions.json", '{"note.txt": "x"}', "'note.txt', which is not a video"),
        ("captions.json", '{"../secret": "x"}', "names '../secret'"),
        ("captions.csv", "a.npy,x\nb.npy\n", "row 2 has 1 columns"),
        ("captions.csv", "gone.npy,x\n", "row 1 names 'gone.npy'"),
        ("captions.csv", 'a.npy,"never closed\nb.npy,x\n', "line 2 is not CSV: unexpected end of data"),
        ("captions.csv", f"a.npy,{'x' * 200_000}", "line 1 is not CSV: field larger than field limit"),
        ("captions.json", f'{{"{"long" * 100}.npy": "x"}}', "entry 1 names 'long"),
        ("captions.json", "[" * 100_000, "is not JSON of captions: maximum recursion depth"),
        ("captions.json", "1" * 5000, "is not JSON of captions: Exceeds the limit"),
        ("metadata.jsonl", '{"file_name": "a.npy", "text": "x"}\n{"file_name": "b.npy"}\n', "line 2 must be"),
        ("metadata.jsonl", '{"file_name": "a.npy", "text": "x"}\n{oops}\n', "line 2 is not JSON"),
    ],
)
def test_wrong_captions_are_refused_by_name(make_folder, name, content, message):
    root = make_folder({"a.npy": 2, "b.npy": 2})
    (root / "note.txt").write_text("x")
    (root / name).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        index_folder(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("separator", ["\n", "\u2028", "\x85", "\x0b"])
def test_captions_keep_their_line_breaks(make_folder, separator):
    root = make_folder({"a.npy": 3, "b.npy": 3})
    caption = f"one{separator}two"
    contents = {
        "captions.json": json.dumps({"a.npy": caption, "b.npy": "x"}, ensure_ascii=False),
        "captions.csv": f'a.npy,"{caption}"\nb.npy,x\n',
        "metadata.jsonl": "\n".join(
            json.dumps({"file_name": name, "text": text}, ensure_ascii=False)
            for name, text in (("a.npy", caption), ("b.npy", "x"))
        ),
    }
    for name, content in contents.items():
        (root / name).write_text(content, encoding="utf-8")
        assert read_captions(root) == {"a.npy": caption, "b.npy": "x"}, name
        (root / name).unlink()


def test_two_captions_files_are_refused(make_folder):
    root = make_folder({"a.npy": 2})
    (root / "captions.json").write_text("{}")
    (root / "captions.csv").write_text("")
    with pytest.raises(UserError, match="several captions files"):
        read_captions(root)


def test_captions_that_are_not_text_are_refused(make_folder):
    root = make_folder({"a.npy": 2})
    (root / "captions.csv").write_bytes(b"a.npy,\xff\xfe\n")
    with pytest.raises(UserError, match="UTF-8"):
        read_captions(root)
