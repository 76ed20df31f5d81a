import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from configs.documents.fields import MAX_NAME_BYTES, check_name, check_text, check_variable_name, collision_key, slug


@pytest.mark.parametrize(
    "name",
    ["red-potion", "名前 ünïcode 🧪", "a:b;c'd`e", "50% off #1?", "-x", "a.b", "a" * MAX_NAME_BYTES, "👩‍🚀", "no"],
)
def test_a_name(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "empty"),
        (" a", "white space"),
        ("a\n", "white space"),
        ("a\u00a0", "white space"),
        (".", "begin with a dot"),
        ("..", "begin with a dot"),
        (".hidden", "begin with a dot"),
        ("a/b", "path separator"),
        ("a\\b", "path separator"),
        ("a\x00b", "U+0000"),
        ("a\tb", "U+0009"),
        ("a\x7fb", "U+007F"),
        ("a\u2028b", "U+2028"),
        ("a\ud800b", "U+D800"),
        ("a" * (MAX_NAME_BYTES + 1), "longer than"),
        ("ü" * (MAX_NAME_BYTES // 2 + 1), "longer than"),
    ],
)
def test_no_name(name, said):
    with pytest.raises(ValueError, match="must not") as refusal:
        check_name(name)
    assert said in str(refusal.value)


@given(st.text(max_size=200))
@example("é")
def test_a_name_can_be_a_segment_of_any_key(name):
    try:
        checked = check_name(name)
    except ValueError:
        return
    assert checked == unicodedata.normalize("NFC", name)
    assert 0 < len(checked.encode()) <= MAX_NAME_BYTES
    assert not set(checked) & set("/\\") and not checked.startswith(".")
    assert check_name(checked) == checked


@given(st.text(max_size=200))
def test_a_slug_is_a_name_or_empty(text):
    words = slug(text)
    assert len(words) <= 60
    if words:
        assert check_name(words) == unicodedata.normalize("NFC", words)


def test_slugs():
    assert slug("A red  Potion, game icon!") == "a-red-potion-game-icon"
    assert slug("Übung Nr. 3_b") == "übung-nr.-3-b"
    assert slug("赤い ポーション") == "赤い-ポーション"
    assert slug("!!!") == ""
    assert slug("../etc/passwd") == "etc-passwd"


@pytest.mark.parametrize(("one", "other"), [("Red", "red"), ("Straße", "STRASSE"), ("É", "e\u0301"), ("Σ", "ς")])
def test_names_of_one_file_collide(one, other):
    assert collision_key(check_name(one)) == collision_key(check_name(other))


def test_other_names_do_not_collide():
    assert collision_key("é") != collision_key("e")


@given(st.text(max_size=50))
def test_text_is_refused_or_can_be_stored(text):
    try:
        check_text(text)
    except ValueError as refusal:
        assert "control character" in str(refusal)
    else:
        assert "\x00" not in text
        text.encode()


@pytest.mark.parametrize("name", ["color", "_x", "a1", "no", "true_", "A" * 64])
def test_a_variable(name):
    assert check_variable_name(name) == name


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "ü", "class", "in", "None", "A" * 65, "a.b"])
def test_no_variable(name):
    with pytest.raises(ValueError, match="the name of a variable"):
        check_variable_name(name)
