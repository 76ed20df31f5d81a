import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.job.job import ItemEntry
from configs.job.tables import read_table, typed


def parquet(**columns) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue().to_pybytes()


def read(data: str | bytes, file: str = "t.csv", limit: int = 1000) -> list[tuple[int, ItemEntry]]:
    rows, problems, _ = read_table(data.encode() if isinstance(data, str) else data, file, limit)
    assert problems == []
    return [tuple(row) for row in rows]


def refused(data: str | bytes, file: str = "t.csv", limit: int = 1000) -> list[tuple[str, int | None, str]]:
    _, problems, _ = read_table(data.encode() if isinstance(data, str) else data, file, limit)
    assert all(problem.file == file for problem in problems)
    return [(problem.path, problem.line, problem.message) for problem in problems]


ENTRY = ItemEntry(
    name="007",
    prompt="a red potion",
    negative_prompt="text",
    seed=5,
    image="a.png",
    mask="m.png",
    vars={"transparent": True, "level": 3, "share": 0.5, "code": "007", "empty_is_text": "nan"},
)
ROW = {key: value for key, value in ENTRY.model_dump().items() if key != "vars"}


@pytest.mark.parametrize(
    ("data", "file"),
    [
        (
            "name,prompt,negative_prompt,seed,image,mask,transparent,level,share,code,empty_is_text,absent\n"
            "007,a red potion,text,5,a.png,m.png,TRUE,3,0.5,007,nan,\n",
            "t.csv",
        ),
        (json.dumps(ROW | {"vars": ENTRY.vars}), "t.jsonl"),
        (json.dumps(ROW | ENTRY.vars), "t.ndjson"),
        (parquet(**{key: [value] for key, value in (ROW | ENTRY.vars).items()}), "s3://bucket/T.PARQUET"),
    ],
)
def test_every_format_gives_the_same_item(data, file):
    ((_, entry),) = read(data, file)
    assert entry == ENTRY


def test_csv_rows_know_the_line_they_begin_in():
    rows = read('\ufeffname,prompt\r\n\r\na,"two\r\nlines"\r\nb,x\r\n\r\nc,"y, ""z"""\r\n')
    assert [(line, entry.name, entry.prompt) for line, entry in rows] == [
        (3, "a", "two\nlines"),
        (5, "b", "x"),
        (7, "c", 'y, "z"'),
    ]


def test_jsonl_lines():
    rows = read('{"name": "a\u2028b"}\n\n{"name": "c"}\r\n'.replace("\u2028", "-"), "t.jsonl")
    assert [(line, entry.name) for line, entry in rows] == [(1, "a-b"), (3, "c")]


def test_a_line_separator_in_a_json_text_ends_no_line():
    ((line, entry),) = read('{"prompt": "a\u2028b"}', "t.jsonl")
    assert (line, entry.prompt) == (1, "a\u2028b")


def test_null_is_absent_in_parquet():
    rows = read(parquet(name=["a", None], prompt=["x", "y"], level=[None, 2]), "t.parquet")
    assert [(entry.name, entry.vars) for _, entry in rows] == [("a", {}), (None, {"level": 2})]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("007", "007"),
        ("+1", "+1"),
        ("1,5", "1,5"),
        (".5", ".5"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1e999", "1e999"),
        ("99999999999999999999", "99999999999999999999"),
        ("yes", "yes"),
        ("1 2", "1 2"),
        ("١", "١"),
    ],
)
def test_a_cell(cell, value):
    assert typed(cell) == value and type(typed(cell)) is type(value)


@pytest.mark.parametrize(
    ("data", "file", "path", "line", "said"),
    [
        ("x", "t.xlsx", "", None, "must be one of .csv, .jsonl, .ndjson, .parquet"),
        ("x", "table", "", None, "must be one of"),
        ("", "t.csv", "", 1, "holds no items"),
        ("name,prompt\n", "t.csv", "", 1, "holds no items"),
        ("\n", "t.jsonl", "", 1, "holds no items"),
        (parquet(name=pyarrow.array([], pyarrow.string())), "t.parquet", "", 1, "holds no items"),
        (b"name\na\xff", "t.csv", "", 2, "not UTF-8"),
        (b'{"name": "a"}\n\xff', "t.jsonl", "", 2, "not UTF-8"),
        ("name,,prompt\na,b,c\n", "t.csv", "", 2, "column 2 has no name"),
        ("name,color,color\na,b,c\n", "t.csv", "color", 1, "two columns are called `color`"),
        ("Name,NAME\na,b\n", "t.csv", "name", 1, "two columns are called `name`"),
        ("name,promt\na,b\n", "t.csv", "promt", 1, "did you mean `prompt`?"),
        ("name,vars\na,b\n", "t.csv", "vars", 1, "a column of its own name"),
        ("name,back ground\na,b\n", "t.csv", "back ground", 2, "the name of a variable"),
        ("name,prompt\na,b\na,b,c\n", "t.csv", "", 3, "has 3 cells, the header 2"),
        ("name,prompt\na\n", "t.csv", "", 2, "has 1 cells, the header 2"),
        ('name,prompt\na,"b" c\n', "t.csv", "", 2, "not valid CSV"),
        ('name,prompt\nx,y\na,"b\n', "t.csv", "", 3, "not valid CSV"),
        ("name,prompt\na,b\x00\n", "t.csv", "prompt", 2, "U+0000"),
        ("name,seed\na,1.5\n", "t.csv", "seed", 2, "must be a whole number, not the text '1.5'"),
        ("name;seed\na;1.000\n", "t.csv", "seed", 2, "must be a whole number, not the text '1.000'"),
        ("name;seed\na;1,23E+15\n", "t.csv", "seed", 2, "must be a whole number, not the text '1,23E+15'"),
        ("name,seed\na,1.23E+15\n", "t.csv", "seed", 2, "must be a whole number, not the text '1.23E+15'"),
        ("name,seed\na,-2\n", "t.csv", "seed", 2, "must be at least -1, not -2"),
        ("name,seed\na,9223372036854775808\n", "t.csv", "seed", 2, "must be at most 9223372036854775807"),
        ("name,prompt\na/b,x\n", "t.csv", "name", 2, "path separator"),
        ("name,image\na,gs://x/y.png\n", "t.csv", "image", 2, "a path, an s3:// or an https:// URI"),
        ("[1]\n", "t.jsonl", "", 1, "must be an object ({…}), not a list"),
        ("{}\n{\n", "t.jsonl", "", 2, "not valid JSON"),
        ('{"a": NaN}', "t.jsonl", "", 1, "NaN is not a finite number"),
        ('{"a": 1e999}', "t.jsonl", "a", 1, "must be a finite number"),
        ('{"a": 1, "a": 2}', "t.jsonl", "", 1, "`a` is written twice"),
        ('{"a": [1]}', "t.jsonl", "a", 1, "must be a text, a number, true or false, not a list"),
        ('{"a": {}}', "t.jsonl", "a", 1, "not fields"),
        ('{"a": 1, "vars": {"a": 2}}', "t.jsonl", "a", 1, "given twice"),
        ('{"vars": 3}', "t.jsonl", "vars", 1, "must be fields"),
        ('{"vars": {"a": [1]}}', "t.jsonl", "a", 1, "not a list"),
        ('{"Prompt": "x"}', "t.jsonl", "Prompt", 1, "write `prompt`"),
        ('{"seed": true}', "t.jsonl", "seed", 1, "must be a whole number, not true"),
        ('{"seed": 1.5}', "t.jsonl", "seed", 1, "must be a whole number, not 1.5"),
        ('{"seed": 1e18}', "t.jsonl", "seed", 1, "must be a whole number, not 1e+18"),
        ('{"name": 7}', "t.jsonl", "name", 1, "must be a text, not 7"),
        ('{"prompt": "\\ud800"}', "t.jsonl", "prompt", 1, "half a character"),
        ('{"x": "\\u0000"}', "t.jsonl", "x", 1, "U+0000"),
        ("[" * 100_000, "t.jsonl", "", 1, "not valid JSON"),
        ('{"x": 9223372036854775808}', "t.jsonl", "x", 1, "at most 64 bits"),
        ("not parquet", "t.parquet", "", 1, "not a readable Parquet file"),
        (parquet(seed=[1.5]), "t.parquet", "seed", 1, "must be a whole number"),
        (parquet(level=[1.0, float("nan")]), "t.parquet", "level", 2, "must be a finite number"),
        (parquet(tags=[["a"]]), "t.parquet", "tags", 1, "not a list"),
        (parquet(promt=["a"]), "t.parquet", "promt", 1, "did you mean `prompt`?"),
    ],
)
def test_a_mistake(data, file, path, line, said):
    ((found_path, found_line, message), *_) = refused(data, file)
    assert (found_path, found_line) == (path, line)
    assert said in message


def test_all_mistakes_at_once():
    problems = refused("name,seed,image\na,x,\n.b,-2,ftp://x/y\nc,1,\n")
    assert [(path, line) for path, line, _ in problems] == [("seed", 2), ("name", 3), ("seed", 3), ("image", 3)]


@pytest.mark.parametrize(
    ("data", "file"),
    [
        ("name\na\nb\nc\n", "t.csv"),
        ('{"name":"a"}\n{"name":"b"}\n{"name":"c"}', "t.jsonl"),
        (parquet(name=["a", "b", "c"]), "t.parquet"),
    ],
)
def test_a_table_is_read_to_its_limit(data, file):
    assert len(read(data, file, limit=3)) == 3
    ((_, _, message),) = refused(data, file, limit=2)
    assert "more than 2" in message and "PIXELMILL_MAX_ITEMS" in message


@given(st.binary(max_size=60), st.sampled_from(["t.csv", "t.jsonl", "t.parquet"]))
def test_any_bytes_are_read_or_refused(data, file):
    rows, problems, _ = read_table(data, file, 100)
    assert rows or problems


cells = st.text(alphabet=st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@given(st.lists(st.tuples(cells, cells), min_size=1, max_size=5))
def test_what_csv_wrote_is_read_back(pairs):
    import csv
    import io

    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(["prompt", "mood"])
    writer.writerows(pairs)
    assert [(entry.prompt, entry.vars["mood"]) for _, entry in read(stream.getvalue())] == [
        (prompt, typed(mood)) for prompt, mood in pairs
    ]


GERMAN = "Name;Prompt;level\nSchlüssel;„gelb“, groß;3\n"


@pytest.mark.parametrize(
    ("data", "notices"),
    [
        (GERMAN.encode("cp1252"), ["not UTF-8: read as Windows-1252", "separated by semicolons"]),
        (GERMAN.encode("utf-16"), ["read as UTF-16", "separated by semicolons"]),
        (GERMAN.encode("utf-8-sig"), ["separated by semicolons"]),
        (GERMAN.replace(";", "\t").encode(), ["separated by tabs"]),
    ],
)
def test_a_table_as_a_spreadsheet_writes_it_is_read_and_that_is_told(data, notices):
    rows, problems, told = read_table(data, "t.csv", 10)
    assert problems == []
    ((_, entry),) = rows
    assert (entry.name, entry.prompt, entry.vars) == ("Schlüssel", "„gelb“, groß", {"level": 3})
    expected = [*notices, "the column `Name` is taken for `name`", "the column `Prompt` is taken for `prompt`"]
    for notice, said in zip(expected, told, strict=True):
        assert notice in said and said.startswith("t.csv: ")


def test_a_code_page_that_could_be_another_one_is_refused():
    assert refused("name\nłóżko\n".encode("cp1250")) == [("", 2, "not UTF-8 (byte 0xb3): save the file as UTF-8")]


def test_commas_within_a_text_do_not_make_columns():
    ((_, entry),) = read('prompt\n"a key; small, red"\n')
    assert entry.prompt == "a key; small, red"


def test_empty_rows_and_columns_are_left_out_and_the_rows_are_told_of():
    rows, problems, notices = read_table(b"name,prompt,,\na,x,,\n,,,\n , ,,\nb,y,,,,\n\n", "t.csv", 10)
    assert ([entry.name for _, entry in rows], problems) == (["a", "b"], [])
    assert notices == ["t.csv: 2 empty rows are left out"]


def test_all_mistakes_of_a_header_are_told_at_once():
    said = refused("promt,color,color,sed\na,b,c,d\n")
    assert [path for path, _, _ in said] == ["promt", "color", "sed"]


@pytest.mark.parametrize(
    ("data", "file"),
    [("seed\n5.0\n", "t.csv"), ('{"seed": 5.0}', "t.jsonl"), (parquet(seed=[5.0, None]), "t.parquet")],
)
def test_a_whole_number_of_a_column_with_empty_cells_is_a_seed(data, file):
    (_, entry), *_ = read(data, file)
    assert (entry.seed, type(entry.seed)) == (5, int)


@pytest.mark.parametrize(
    ("data", "file"),
    [
        ("Negative Prompt,Transparent,glow\ntext,TRUE,1\n", "t.csv"),
        ("\ufeff\ufeffNegative Prompt,TRANSPARENT \u200b,glow\ntext,\xa0true\u2060,1\n", "t.csv"),
        (parquet(**{"Negative Prompt": ["text"], "Transparent": [True], "glow": [1]}), "t.parquet"),
    ],
)
def test_a_column_that_differs_in_case_or_spaces_is_taken_and_told(data, file):
    rows, problems, notices = read_table(data if isinstance(data, bytes) else data.encode(), file, 9, ["transparent"])
    assert problems == []
    assert rows[0].entry == ItemEntry(negative_prompt="text", vars={"transparent": True, "glow": 1})
    assert [notice.partition(": ")[2].split("`")[3] for notice in notices] == ["negative_prompt", "transparent"]


def test_a_column_of_a_known_name_stays_beside_one_that_looks_like_it():
    rows, problems, notices = read_table(b"color,Color\nred,blue\n", "t.csv", 9, ["color"])
    assert (rows[0].entry.vars, problems, notices) == ({"color": "red", "Color": "blue"}, [], [])


@pytest.mark.parametrize(
    ("cell", "value", "said"),
    [
        ("0,5", "0,5", "is a text; if a number is meant, write it as 1234.5"),
        ("1'234.50", "1'234.50", "is a text"),
        ("1\u202f234", "1\u202f234", "is a text"),
        ("1.234,5", "1.234,5", "is a text"),
        ("'5", "'5", "is a text"),
        ("1.234", 1.234, "is read with a decimal point; if it parts thousands, leave it out"),
        ("1.23E+15", 1.23e15, "may have been shortened by a spreadsheet"),
        ("1,23E+15", "1,23E+15", "may have been shortened by a spreadsheet"),
        ("4563724500533830000", 4563724500533830000, "may have been rounded by a spreadsheet"),
    ],
)
def test_a_number_that_may_be_another_one_is_told_once_for_its_column(cell, value, said):
    rows, _, notices = read_table(f"name;level\na;{cell}\nb;{cell}\n".encode(), "t.csv", 9)
    assert [row.entry.vars["level"] for row in rows] == [value, value]
    (notice,) = notices[1:]  # the first is about the separator
    assert notice.startswith(f"t.csv: line 2, column `level`: `{cell}` {said}")


def test_a_seed_that_a_spreadsheet_has_rounded_is_told_of():
    _, _, (notice,) = read_table(b"seed\n4563724500533830000\n", "t.csv", 9)
    assert notice.startswith("t.csv: line 2, column `seed`: `4563724500533830000` may have been rounded")


@pytest.mark.parametrize("cell", ["12", "0.5", "007", "1e3", "4563724500533836348", "12-5", "a,5", "1,2,3"])
def test_other_numbers_are_not_remarked_on(cell):
    _, _, notices = read_table(f"level;name\n{cell};a\n".encode(), "t.csv", 9)
    assert len(notices) == 1
