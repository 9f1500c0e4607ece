"""Every published layout, written small by the test, against the list of videos that must come of it."""

import json
from typing import get_args

import pytest

from longtake.core.errors import UserError
from longtake.data.index import index_folder
from longtake.data.prepare import SETS, prepare
from longtake.data.sets.options import DataSetName


def test_every_name_that_can_be_asked_for_is_a_set():
    assert list(SETS) == list(get_args(DataSetName))


def ucf_lists(root, lists, classes=("ApplyEyeMakeup", "YoYo")):
    folder = root / "ucfTrainTestlist"
    folder.mkdir(parents=True)
    (folder / "classInd.txt").write_text("".join(f"{number} {name}\n" for number, name in enumerate(classes, 1)))
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")


def test_ucf101_follows_the_official_list_of_the_split(tmp_path, make_video, targets):
    root = tmp_path / "ucf"
    names = [f"{kind}/v_{kind}_g0{group}_c01" for kind in ("ApplyEyeMakeup", "YoYo") for group in (1, 2, 3)]
    for name in names:
        make_video(root / "UCF-101" / f"{name}.avi", 2)
    for split, test_group in {"1": 0, "2": 1, "3": 2}.items():
        test = [name for number, name in enumerate(names) if number % 3 == test_group]
        train = [name for name in names if name not in test]
        lists = {
            f"trainlist0{split}.txt": [f"{name}.avi {1 + name.startswith('YoYo')}" for name in train],
            f"testlist0{split}.txt": [f"{name}.avi" for name in test],
        }
        ucf_lists(root / split, lists)
        (root / split / "UCF-101").symlink_to(root / "UCF-101")
        items = SETS["ucf101"].find(root / split, split)
        assert targets(items) == sorted([f"train/{name}" for name in train] + [f"test/{name}" for name in test])
        assert all(item.source.exists() for item in items)
    prepare("ucf101", root / "3", tmp_path / "out", split="3")
    index = index_folder(tmp_path / "out" / "train")
    assert index.classes == ("ApplyEyeMakeup", "YoYo")
    assert [entry.label for entry in index.entries] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Yoyo/v_Yoyo_g01_c01.avi 2", "line 1 names class 'Yoyo', which classInd.txt does not list"),
        ("YoYo/v_YoYo_g01_c01.avi 1", "line 1 gives YoYo/v_YoYo_g01_c01.avi class 1, which classInd.txt does not"),
    ],
)
def test_ucf101_lists_that_contradict_the_class_names_are_refused(tmp_path, line, message):
    (tmp_path / "UCF-101").mkdir()
    ucf_lists(tmp_path, {"trainlist01.txt": [line], "testlist01.txt": []})
    with pytest.raises(UserError, match=message):
        SETS["ucf101"].find(tmp_path, "1")


def test_sky_timelapse_clips_are_folders_of_frames(tmp_path, make_frame_folder, targets, numbers_of):
    root = tmp_path / "sky"
    make_frame_folder(root / "sky_train" / "07U1fSrk9oI" / "07U1fSrk9oI_1", 12, "07U1fSrk9oI_frames_", digits=1)
    make_frame_folder(root / "sky_train" / "07U1fSrk9oI" / "07U1fSrk9oI_2", 3)
    make_frame_folder(root / "sky_test" / "longvideo" / "1", 4)
    prepare("sky-timelapse", root, tmp_path / "out")
    train = index_folder(tmp_path / "out" / "train")
    assert [entry.path.name for entry in train.entries] == ["07U1fSrk9oI_1", "07U1fSrk9oI_2"]
    assert train.classes == ()
    assert numbers_of(tmp_path / "out" / "train" / "07U1fSrk9oI_1") == list(range(12))  # frame_9 before frame_10
    assert numbers_of(tmp_path / "out" / "test" / "longvideo_1") == list(range(4))


HEADER = "video_id,start,end,bbox,fps,width,height,partition"


def test_taichi_takes_cut_clips_and_cuts_the_others_out_of_whole_videos(
    tmp_path, make_video, make_frame_folder, numbers_of, frames
):
    root = tmp_path / "taichi"
    make_video(root / "train" / "aaa#000080#000300.mp4", 5)
    make_frame_folder(root / "test" / "aaa#000400#000410.mp4", 7)  # the script's png format keeps the suffix
    whole = frames(20, 48, 64)
    whole[:, :, :32] = 255  # the left half is not in the box
    make_video(root / "youtube-taichi" / "bbb.mp4", pictures=whole)
    rows = [
        "aaa,80,300,0-0-32-32,25,32,32,train",
        "aaa,400,410,0-0-32-32,25,32,32,test",
        "bbb,3,11,640-0-1280-960,25,1280,960,train",  # the table's picture is 20 times as large as the video
        "ccc,0,9,0-0-10-10,25,100,100,test",
    ]
    (root / "taichi-metadata.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    result = prepare("taichi-hd", root, tmp_path / "out")
    assert numbers_of(tmp_path / "out" / "train" / "aaa#000080#000300.mp4") == list(range(5))
    assert numbers_of(tmp_path / "out" / "test" / "aaa#000400#000410") == list(range(7))
    assert numbers_of(tmp_path / "out" / "train" / "bbb#000003#000011.mp4") == list(range(3, 11))
    assert index_folder(tmp_path / "out" / "train").entries[1].info.width == 32
    assert list(result.failed) == ["test/ccc#000000#000009"]
    assert "no such file" in result.failed["test/ccc#000000#000009"]


@pytest.mark.parametrize(("fps", "num_frames"), [(25, 40), (36, 57), (12.5, 20), (30, 48), (23.98, 38)])
def test_taichi_counts_frames_at_the_rate_of_the_table(tmp_path, make_video, numbers_of, fps, num_frames):
    """Against the published script's rule: frame i is kept if start * fps <= i * fps of the table < end * fps."""
    root = tmp_path / "taichi"
    make_video(root / "youtube-taichi" / "aaa.mp4", num_frames, fps=fps)
    ranges = [(3, 11), (0, 5), (30, 40)]
    rows = [f"aaa,{start},{end},0-0-32-32,25.0,32,32,train" for start, end in ranges]
    (root / "taichi-metadata.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    assert prepare("taichi-hd", root, tmp_path / "out").failed == {}
    for start, end in ranges:
        wanted = [i for i in range(num_frames) if start * fps <= i * 25 < end * fps]
        assert numbers_of(tmp_path / "out" / "train" / f"aaa#{start:06d}#{end:06d}.mp4") == wanted


def test_taichi_without_a_table_takes_what_is_there(tmp_path, make_video, targets):
    make_video(tmp_path / "train" / "aaa#000080#000300.mp4")
    make_video(tmp_path / "test" / "bbb#000001#000009.mp4")
    assert targets(SETS["taichi-hd"].find(tmp_path, "published")) == [
        "test/bbb#000001#000009",
        "train/aaa#000080#000300",
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("aaa,80,300,0-0-32-32,25,32,32,val", "row 2 has partition 'val'; it must be train or test"),
        ("aaa,80,x,0-0-32-32,25,32,32,train", "row 2 does not hold whole numbers"),
        ("aaa,80,300,0-0-32-32,0,32,32,train", "row 2 has fps 0 and size 32x32; all must be above 0"),
        ("aaa,80,300,0-0-32,25,32,32,train", "row 2 does not hold whole numbers and a bbox of four"),
    ],
)
def test_taichi_rows_that_make_no_sense_are_named(tmp_path, row, message):
    (tmp_path / "taichi-metadata.csv").write_text(f"{HEADER}\n{row}\n")
    with pytest.raises(UserError, match=message):
        SETS["taichi-hd"].find(tmp_path, "published")


def test_taichi_table_of_the_first_release_lacks_the_split(tmp_path):
    (tmp_path / "taichi-metadata.csv").write_text("video_id,start,end,bbox,fps,width,height\n")
    with pytest.raises(UserError, match="has no column 'partition'"):
        SETS["taichi-hd"].find(tmp_path, "published")


def test_uva_nemo_takes_the_class_from_the_details(tmp_path, make_video, targets):
    make_video(tmp_path / "videos" / "001_deliberate_smile_2.mp4")
    make_video(tmp_path / "videos" / "001_spontaneous_smile_1.mp4")
    make_video(tmp_path / "videos" / "not_listed.mp4")
    rows = [
        "UvA-NEMO Smile Database",
        "",
        "File details",
        "",
        "File name\tSubject\tGender\tAge\tType",
        "001_deliberate_smile_2.mp4\t001\tmale\t24\tdeliberate",
        "001_spontaneous_smile_1.mp4\t001\tmale\t24\tspontaneous",
    ]
    details = tmp_path / "UvA-NEMO_Smile_Database_File_Details.txt"
    details.write_text("\n".join(rows) + "\n")
    items = SETS["uva-nemo"].find(tmp_path, "all")
    assert targets(items) == ["deliberate/001_deliberate_smile_2", "spontaneous/001_spontaneous_smile_1"]
    assert all(item.source.exists() for item in items)
    details.write_text("002_smile.mp4\t002\tmale\t24\tforced\n")
    with pytest.raises(UserError, match=r"line 1 gives 002_smile.mp4 no smile type \(deliberate or spontaneous\)"):
        SETS["uva-nemo"].find(tmp_path, "all")


def test_weizmann_names_give_action_and_person(tmp_path, make_video, targets):
    for name in ("daria_bend", "lena_walk1", "lena_walk2", "ido_wave1", "ido_wave2"):
        make_video(tmp_path / name.split("_")[1] / f"{name}.avi", 2)
    assert targets(SETS["weizmann"].find(tmp_path, "all")) == [
        "bend/daria_bend",
        "walk/lena_walk1",
        "walk/lena_walk2",
        "wave1/ido_wave1",
        "wave2/ido_wave2",
    ]
    assert targets(SETS["weizmann"].find(tmp_path, "lena")) == [
        "test/walk/lena_walk1",
        "test/walk/lena_walk2",
        "train/bend/daria_bend",
        "train/wave1/ido_wave1",
        "train/wave2/ido_wave2",
    ]
    make_video(tmp_path / "holiday.avi", 2)
    with pytest.raises(UserError, match=r"holiday.avi is not named person_action.avi \(daria"):
        SETS["weizmann"].find(tmp_path, "all")


SEQUENCES = """KTH actions

person01_boxing_d1\t\tframes\t1-4, 5-9, 10-12, 13-20
person11_boxing_d2\t\tframes\t2-3
person02_walking_d1\t\tframes\t1-20, 15-20,
person13_handclapping_d3\t*missing*
"""


def test_kth_videos_are_cut_into_their_ranges_counted_from_one(tmp_path, make_video, numbers_of):
    root = tmp_path / "kth"
    make_video(root / "boxing" / "person01_boxing_d1_uncomp.avi", 20)
    make_video(root / "boxing" / "person11_boxing_d2_uncomp.avi", 5)
    make_video(root / "walking" / "person02_walking_d1_uncomp.avi", 18)  # cut short
    (root / "00sequences.txt").write_text(SEQUENCES)
    result = prepare("kth", root, tmp_path / "out")
    boxing = tmp_path / "out" / "validation" / "boxing"
    made = {path.name: numbers_of(path) for path in sorted(boxing.iterdir())}
    assert made == {
        "person01_boxing_d1_1.mp4": [0, 1, 2, 3],
        "person01_boxing_d1_2.mp4": [4, 5, 6, 7, 8],
        "person01_boxing_d1_3.mp4": [9, 10, 11],
        "person01_boxing_d1_4.mp4": list(range(12, 20)),
    }
    assert numbers_of(tmp_path / "out" / "train" / "boxing" / "person11_boxing_d2_1.mp4") == [1, 2]
    assert list(result.failed) == ["test/walking/person02_walking_d1_1", "test/walking/person02_walking_d1_2"]
    assert "no frames 14 to 19, the video has 18" in result.failed["test/walking/person02_walking_d1_2"]


def test_kth_splits_divide_all_people(tmp_path, targets):
    lines = [f"person{person:02d}_running_d1 frames 1-9" for person in range(1, 26)]
    (tmp_path / "00sequences.txt").write_text("\n".join(lines))
    counts = {}
    for split in SETS["kth"].splits:
        parts = [item.part for item in SETS["kth"].find(tmp_path, split)]
        counts[split] = {part: parts.count(part) for part in dict.fromkeys(sorted(parts))}
    assert counts == {
        "people": {"test": 9, "train": 8, "validation": 8},
        "prediction": {"test": 9, "train": 16},
        "all": {"": 25},
    }
    (tmp_path / "00sequences.txt").write_text("person01_running_d1 frames 1-9 and more")
    with pytest.raises(UserError, match="line 1 is not a person of 1 to 25 and ranges of frames"):
        SETS["kth"].find(tmp_path, "people")


def test_mugen_captions_prefer_the_hand_written_text(tmp_path, make_video):
    root = tmp_path / "mugen"
    release = root / "coinrun_dataset_jsons" / "release"
    release.mkdir(parents=True)

    def entry(identity, **texts):
        annotations = [{"text": text, "type": kind} for kind, text in texts.items()]
        return {"video": {"id": identity, "num_frames": 96}, "annotations": annotations}

    train = [entry("seed_1_level_2", auto="template\u2028text", manual="Mugen jumps"), entry("b", auto="only this")]
    (release / "train.json").write_text(json.dumps({"metadata": {}, "data": train}, ensure_ascii=False))
    (release / "test.json").write_text(json.dumps({"data": [entry("c", manual="no video")]}))
    make_video(root / "videos" / "seed_1_level_2.mp4")
    make_video(root / "videos" / "b.mp4")
    result = prepare("mugen", root, tmp_path / "out")
    index = index_folder(tmp_path / "out" / "train")
    assert {entry.path.name: entry.text for entry in index.entries} == {
        "seed_1_level_2.mp4": "Mugen jumps",
        "b.mp4": "only this",
    }
    assert index.classes == ()
    assert list(result.failed) == ["test/c"]
    assert not (tmp_path / "out" / "test" / "captions.json").exists()
    (release / "train.json").write_text('{"data": [{"video": {"id": "x"}, "annotations": []}]}')
    with pytest.raises(UserError, match="entry 1 has no video id or no text"):
        SETS["mugen"].find(root, "published")


@pytest.mark.parametrize(("identity", "text"), [(7, "a text"), ("", "a text"), ("x", None), ("x", ["a text"])])
def test_mugen_ids_and_captions_are_text(tmp_path, identity, text):
    entry = {"video": {"id": identity}, "annotations": [{"text": text}]}
    (tmp_path / "train.json").write_text(json.dumps({"data": [entry]}))
    with pytest.raises(UserError, match=r"entry 1 has video id .* both must be text"):
        SETS["mugen"].find(tmp_path, "published")


@pytest.mark.parametrize("identity", ["../../stolen", "/stolen"])
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path, identity):
    root = tmp_path / "mugen"
    root.mkdir()
    entry = {"video": {"id": identity}, "annotations": [{"text": "a text"}]}
    (root / "train.json").write_text(json.dumps({"data": [entry]}))
    with pytest.raises(UserError, match="which leads out of the folder"):
        prepare("mugen", root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parts_of_a_set_may_be_links(tmp_path, make_video, make_frame_folder, targets):
    """As where a large set lies on several disks."""
    elsewhere = tmp_path / "disk"
    make_video(elsewhere / "bend" / "daria_bend.avi", 2)
    make_frame_folder(elsewhere / "train" / "long" / "long_1", 2)
    make_frame_folder(elsewhere / "test" / "clip", 2)
    weizmann, sky = tmp_path / "weizmann", tmp_path / "sky"
    (sky / "sky_train").mkdir(parents=True)
    (sky / "sky_test").symlink_to(elsewhere / "test")
    (sky / "sky_train" / "long").symlink_to(elsewhere / "train" / "long")
    weizmann.mkdir()
    (weizmann / "bend").symlink_to(elsewhere / "bend")
    (weizmann / "back").symlink_to(weizmann)
    assert targets(SETS["weizmann"].find(weizmann, "all")) == ["bend/daria_bend"]
    assert targets(SETS["sky-timelapse"].find(sky, "published")) == ["test/clip", "train/long_1"]


@pytest.mark.parametrize("name", list(SETS))
def test_a_folder_without_the_layout_is_refused_in_one_line(tmp_path, name):
    (tmp_path / "something.txt").write_text("else")
    with pytest.raises(UserError) as failure:
        prepare(name, tmp_path, tmp_path.parent / f"{tmp_path.name}-out")
    assert str(tmp_path) in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_folder_without_weizmann_videos_says_what_they_are_called(tmp_path):
    with pytest.raises(UserError, match=r"holds no <person>_<action>.avi, such as daria_bend.avi"):
        prepare("weizmann", tmp_path, tmp_path.parent / "out")
