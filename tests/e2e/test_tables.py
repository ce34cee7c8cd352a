"""Semantic types on the platform: columns checked where a table is made, folders, checkpoints and settings."""

import json

import pandas as pd
import pytest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "a.txt").write_text("a")
    return tmp_path / "folder"


def run(mwfs, people, folder):
    path = folder.parent / "people.parquet"
    pd.DataFrame(people).to_parquet(path)
    words = [f"raw={path}", f"folder={folder}", 'settings={"depth": 3}']
    return mwfs("run", "tables:summarise", *(part for word in words for part in ("--input", word)), "--output", "json")


def test_tables_folders_and_checkpoints_travel(mwfs, folder):
    answer = run(mwfs, {"name": ["Ann", "Bob"], "age": [31, 42], "more": [1, 2]}, folder)
    assert answer.json["outputs"] == {"oldest": "Bob", "takes": "Features → float", "step": 7, "files": ["sub/a.txt"]}


def test_a_table_without_a_declared_column_fails_where_it_was_made(mwfs, folder):
    answer = run(mwfs, {"name": ["Ann", "Bob"], "ages": [31, 42]}, folder)
    assert answer.code == 1
    failure = json.loads(answer.out)["failure"]
    assert "people.parquet with no column `age` (but `ages`)" in failure["message"]
    assert "clean" in answer.text


def test_an_input_with_a_bad_cell_is_refused_before_it_is_sent(mwfs, tmp_path):
    (tmp_path / "people.csv").write_text("name,age\nAnn,31\nBob,old\n")
    answer = mwfs("run", "tables:declared", "--input", f"people={tmp_path / 'people.csv'}")
    assert answer.code == 2
    assert "column `age` row 2: 'old' is not int" in answer.err


def test_a_folder_that_a_run_made_is_saved_as_a_folder(mwfs, folder, tmp_path):
    (tmp_path / "people.csv").write_text("name,age\nAnn,31\n")
    words = ["--input", f"folder={folder}", "--input", f"people={tmp_path / 'people.csv'}"]
    answer = mwfs("run", "tables:note", *words, "--output", "json")
    features = answer.json["outputs"]["features"]
    assert (features["data"]["encoding"], features["keys"], features["time"]) == ("csv", ["name"], None)
    run_id = answer.json["run_id"]
    saved = mwfs("runs", "outputs", run_id, "--save", str(tmp_path / "saved"))
    assert saved.code == 0
    assert (tmp_path / "saved" / "folder" / "sub" / "a.txt").read_text() == "a"
    assert (tmp_path / "saved" / "folder" / "note.txt").read_text() == "read"
    assert (tmp_path / "saved" / "features.data.csv").read_text().splitlines() == ["name,age", "Ann,31"]
    again = mwfs("runs", "outputs", run_id, "--save", str(tmp_path / "saved"))
    assert (again.code, "exists already" in again.err) == (2, True)
