"""Loading: every mistake is one line that says where, what, and what to do."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealora.models.settings import LoraSettings, ModelSettings, TaskSettings
from sealora.plan.loader import Plan, load
from sealora.plan.settings import PlanSettings
from sealora.plan.toml_file import MAX_BYTES
from sealora.protocol.errors import PlanError

HEAD = 'schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\n'


def problems(text):
    """The lines that a text's error consists of."""
    with pytest.raises(PlanError) as caught:
        Plan.from_text(text)
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("training.learning_rat = 1", "training.learning_rat: unknown key. Did you mean 'learning_rate'?"),
        ("trainin.epochs = 1", "trainin: unknown key. Did you mean 'training'?"),
        ("cohort.zzz = 1", "cohort.zzz: unknown key. Known: size, quorum."),
        ("training.epochs = 1.0", "training.epochs: must be an integer, not 1.0."),
        ("training.epochs = true", "training.epochs: must be an integer, not true."),
        ('training.epochs = "2"', "training.epochs: must be an integer, not the string '2'."),
        ('training.learning_rate = "0.1"', "training.learning_rate: must be a number, not the string '0.1'."),
        ("training.learning_rate = 0", "training.learning_rate: must be more than 0, not 0."),
        ("training.learning_rate = inf", "training.learning_rate: must be a finite number, not inf."),
        ("training.weight_decay = nan", "training.weight_decay: must be a finite number, not nan."),
        ("training.weight_decay = -1", "training.weight_decay: must be at least 0, not -1."),
        ("rounds.count = 100_001", "rounds.count: must be at most 100000, not 100001."),
        ("data.test_fraction = 1.0", "data.test_fraction: must be less than 1, not 1.0."),
        (
            'training.optimizer = "adamv"',
            "training.optimizer: must be 'adamw' or 'sgd', not the string 'adamv'. Did you mean 'adamw'?",
        ),
        ("codec.value_bits = 9", "codec.value_bits: must be 2, 4, 8, 16 or 32, not 9."),
        ("data.drop_duplicates = 1", "data.drop_duplicates: must be true or false, not 1."),
        ("name = 1979-05-27", "name: must be a string in quotes, not the date or time 1979-05-27."),
        ('name = ""', "name: must be a longer string, not the string ''."),
        ('lora.target_modules = "q"', "lora.target_modules: must be an array, not the string 'q'."),
        ('lora.target_modules = ["q", 1]', "lora.target_modules[1]: must be a string in quotes, not 1."),
        ("lora.target_modules = [{}]", "lora.target_modules[0]: must be a string in quotes, not a table."),
        ("data.label_map = []", "data.label_map: must be a table, not an array."),
        ("data.label_map.x = 1", "data.label_map.x: must be a string in quotes, not 1."),
        ("lora = 8", "lora: must be a section, not 8."),
        (
            "strategy.weight_cap = 0x1" + "0" * 16,
            "strategy.weight_cap: must be an integer of at most 64 bits.",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(line, message):
    assert problems(f"{HEAD}# a comment\n{line}\n") == [f"plan.toml:5: {message}"]


def test_huge_integers_are_refused_without_being_written_out():
    (line,) = problems(f"{HEAD}strategy.weight_cap = 0x{'f' * 10_000}")
    assert len(line) < 200
    assert problems(f"{HEAD}strategy.weight_cap = {'9' * 10_000}")[0].startswith("plan.toml: not valid TOML")


def test_all_mistakes_are_told_in_the_order_of_their_lines():
    text = 'schema = 1\n[training]\nepochs = 0\n[model]\nnam = "m"\n[task]\nlabels = ["a",\n 3]\n'
    assert problems(text) == [
        "plan.toml:3: training.epochs: must be at least 1, not 0.",
        "plan.toml:4: model.name: missing. Write `name = …`: "
        "`bundled:NAME`, a local folder, a Hugging Face id, or `modelscope:ID`.",
        "plan.toml:5: model.nam: unknown key. Did you mean 'name'?",
        "plan.toml:8: task.labels[1]: must be a string in quotes, not 3.",
    ]


def test_a_missing_section_has_no_line():
    assert problems("schema = 1\ntask.labels = ['a', 'b']") == [
        "plan.toml: model: missing. Add a [model] section."
    ]


def test_hundreds_of_mistakes_are_summed_up():
    lines = problems(HEAD + "".join(f"strange{number} = 1\n" for number in range(300)))
    assert len(lines) == 51
    assert lines[-1] == "plan.toml: and 250 more problems."


def test_a_mistake_stays_on_one_line():
    lines = problems(HEAD + '"line\\nbreak\\u001b[31m" = 1\ndata.label_map = {x = "c\\nd"}')
    assert lines[0].startswith("plan.toml:4: line?break?[31m: is a key that holds a control")
    assert all(character.isprintable() for line in lines for character in line)


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\\n", "U+000A"),
        ("\\u001b", "U+001B"),
        ("\\u0085", "U+0085"),
        ("\\u200b", "U+200B"),
        ("\\u202e", "U+202E"),
        ("\\u2028", "U+2028"),
    ],
)
def test_what_people_approve_holds_nothing_that_they_do_not_see(character, name):
    head = 'schema = 1\nmodel.name = "m"\n'
    told = f"a control or invisible character ({name}). Remove it."
    (line,) = problems(f'{HEAD}name = "x{character}y"')
    assert line == f"plan.toml:4: name: holds {told}"
    (line,) = problems(f'{head}task.labels = ["a", "b{character}"]')
    assert line == f"plan.toml:3: task.labels[1]: holds {told}"
    (line,) = problems(f'{HEAD}data.label_map = {{ "0{character}" = "a" }}')
    assert line.startswith("plan.toml:4: data.label_map.0")
    assert line.endswith(f": is a key that holds {told}")


def test_letters_of_any_script_may_stand_in_a_plan():
    labels = ("积极", "négatif", "безразлично", "إيجابي", "🙂")
    assert Plan.from_text(HEAD).replace(name="电影 評論", task={"labels": labels}).task.labels == labels


def test_plans_from_python_hold_nothing_hidden_either():
    with pytest.raises(PlanError, match=r"plan: name: holds a control or invisible character \(U\+D800\)"):
        Plan.from_text(HEAD).replace(name="a\ud800")


@pytest.mark.parametrize("schema", ["2", "0", '"1"', "true", "1.0"])
def test_other_schemas_are_refused_alone(schema):
    (line,) = problems(f"schema = {schema}\nwhatever = 1")
    assert line.startswith("plan.toml:1: schema: this version of Sealora reads plans of schema 1, not ")
    assert "sealora plan new" in line


def test_a_missing_schema_says_what_to_write():
    assert problems("name = 'x'") == [
        "plan.toml: schema: missing. Write `schema = 1` at the top of the plan."
    ]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a = \n", "plan.toml:1: not valid TOML: Invalid value."),
        ("a = 1\na = 2", "plan.toml:2: not valid TOML: Cannot overwrite a value"),
        ("a = [\n1,", "plan.toml:2: not valid TOML: "),
        ("a = " + "[" * 100_000, "plan.toml: nested too deeply"),
        ("a = " + "{b=" * 100_000, "plan.toml: nested too deeply"),
        ("\n" + ".".join("a" * 100_000) + " = 1", "plan.toml:2: a key of more than 100 parts"),
    ],
)
def test_text_that_is_no_toml(text, start):
    (line,) = problems(text)
    assert line.startswith(start)


@pytest.mark.parametrize("depth", [100, 240, 300, 320, 325, 330, 400, 470, 480, 490, 500])
def test_nesting_is_refused_at_any_depth(depth):
    with pytest.raises(PlanError):
        Plan.from_text(f"{HEAD}x = {'[' * depth}{']' * depth}")


def test_dots_that_are_no_key_do_not_count():
    labels = ", ".join(f'"v{number}.{number}.x"' for number in range(200))
    text = f"# {'.' * 300}\nschema = 1\nmodel.name = 'm'\ntask.labels = [{labels}]"
    assert len(Plan.from_text(text).task.labels) == 200


def test_integers_serve_as_numbers():
    plan = Plan.from_text(HEAD + "training.learning_rate = 2")
    assert repr(plan.training.learning_rate) == "2.0"


def test_sections_are_attributes():
    plan = Plan.from_text(HEAD + "[training]\nepochs = 4")
    assert (plan.training.epochs, plan.task.labels, plan.settings.model.name) == (4, ("a", "b"), "m")
    assert plan.path is None


def test_load_keeps_the_path(tmp_path):
    file = tmp_path / "p.toml"
    file.write_bytes(b"\xef\xbb\xbf" + HEAD.encode())
    assert load(file).path == file
    assert load(str(file)).replace(seed=1).path == file


def test_messages_name_the_file(tmp_path):
    file = tmp_path / "p.toml"
    file.write_text("schema = 3")
    with pytest.raises(PlanError, match=r"p\.toml:1: schema"):
        load(file)


def refusal(path):
    with pytest.raises(PlanError) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_that_cannot_be_plans(tmp_path):
    assert "there is no such file. Write a plan with `sealora plan new`." in refusal(tmp_path / "none.toml")
    assert "cannot be read" in refusal(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"schema = 1\nname = 'Universit\xe9'")
    assert "latin.toml:2: not UTF-8." in refusal(tmp_path / "latin.toml")
    (tmp_path / "huge.toml").write_bytes(b"#" * (MAX_BYTES + 1))
    assert "larger than 1,000,000 bytes" in refusal(tmp_path / "huge.toml")
    (tmp_path / "limit.toml").write_bytes(HEAD.encode() + b"#" * (MAX_BYTES - len(HEAD)))
    assert load(tmp_path / "limit.toml").name == "run"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path):
    (tmp_path / "p.toml").touch(mode=0o000)
    assert "cannot be read (Permission denied)" in refusal(tmp_path / "p.toml")


def test_plans_from_python_are_checked_too():
    settings = PlanSettings(
        schema=1,
        model=ModelSettings(name="m"),
        task=TaskSettings(labels=("a", "b")),
        lora=LoraSettings(rank=4),
    )
    plan = Plan.from_settings(settings)
    assert plan.lora.rank == 4
    assert plan.hash == Plan.from_text(HEAD + "lora.rank = 4").hash
    with pytest.raises(PlanError, match=r"^plan: task\.labels\[1\]: the same label twice"):
        Plan.from_settings(settings.model_copy(update={"task": TaskSettings(labels=("a", "a"))}))


def test_replace_changes_keys_or_whole_sections():
    plan = Plan.from_text(HEAD + "lora = {rank = 4, dropout = 0.5}")
    assert plan.replace(lora={"rank": 2}).lora == LoraSettings(rank=2, dropout=0.5)
    assert plan.replace(lora=LoraSettings(rank=2)).lora == LoraSettings(rank=2)
    assert plan.replace(seed=3).seed == 3
    assert plan.replace(task={"labels": ["x", "y"]}).task.labels == ("x", "y")
    assert plan.lora.rank == 4
    assert plan.replace().hash == plan.hash


@pytest.mark.parametrize(
    "change", [{"lora": {"rank": -1}}, {"foo": 1}, {"task": {"labels": ["a"]}}, {"schema": 2}]
)
def test_replace_validates(change):
    with pytest.raises(PlanError):
        Plan.from_text(HEAD).replace(**change)


def test_a_plan_is_frozen():
    plan = Plan.from_text(HEAD)
    with pytest.raises(ValueError, match="frozen"):
        plan.seed = 1


def test_the_model_hash_joins_the_contract():
    plan = Plan.from_text(HEAD)
    bound = plan.with_model_hash("ab" * 32)
    assert (plan.model_hash, bound.model_hash) == ("", "ab" * 32)
    assert len({plan.hash, bound.hash, plan.with_model_hash("cd" * 32).hash}) == 3
    assert bound.replace().model_hash == ""
    for wrong in ("", "ab", "AB" * 32, "ab" * 32 + "\n"):
        with pytest.raises(PlanError, match="64 hexadecimal digits"):
            plan.with_model_hash(wrong)


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_plans_load_or_are_refused(data):
    text = (
        HEAD + 'lora.target_modules = ["q", "k"]\n[data]\nlabel_map = { "0" = "a" }\n[training]\nepochs = 2\n'
    )
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 8)))
    damaged = text[:start] + data.draw(st.text("ab01[]{}=\".,#\n\\'-_", max_size=6)) + text[stop:]
    found = ""
    try:
        plan = Plan.from_text(damaged)
        assert Plan.from_settings(plan).hash == plan.hash
    except PlanError as error:
        found = str(error)
    assert all(line.startswith("plan.toml:") for line in found.splitlines())
