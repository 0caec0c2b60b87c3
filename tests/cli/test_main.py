"""The `sealora` command itself: help, version, laziness, and wrong usage."""

import subprocess
import sys

import pytest

from sealora import __version__
from sealora.cli import main as module
from sealora.cli.main import COMMANDS, load_command, main


@pytest.fixture
def sealora(capsys, monkeypatch):
    """Runs the console entry point; returns exit code, standard output and standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sealora", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_help_lists_every_command_with_its_line(sealora):
    code, out, _ = sealora("--help")
    assert code == 0
    words = " ".join(out.replace("│", " ").split())
    for name, text in COMMANDS.items():
        assert f"{name} {text}" in words


def test_help_imports_no_command_and_nothing_heavy():
    script = (
        "import sys; from sealora.cli.main import main; sys.argv = ['sealora', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "names = {name.removeprefix('sealora.') for name in sys.modules}\n"
        "print(sorted(names & {'torch', 'numpy', 'pydantic', 'transformers', 'cli.plan', 'cli.simulate'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_loads_under_its_name(name):
    command = load_command(name)
    assert command.name == name
    assert command.help


def test_the_version(sealora):
    assert sealora("--version") == (0, f"sealora {__version__}\n", "")


def test_without_arguments_comes_the_help(sealora):
    code, out, err = sealora()
    assert code == 2
    assert "Usage: sealora" in out + err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pla",), "No such command 'pla'. Did you mean 'plan'? See `sealora --help`."),
        (("plan", "zzz"), "No such command 'zzz'. See `sealora plan --help`."),
        (("plan", "check"), "Missing argument 'PLAN'. See `sealora plan check --help`."),
        (
            ("plan", "show", "x", "--jsn"),
            "No such option '--jsn'. Did you mean '--json'? See `sealora plan show --help`.",
        ),
    ],
)
def test_wrong_usage_is_one_line(sealora, arguments, message):
    code, out, err = sealora(*arguments)
    assert (code, out) == (2, "")
    assert err == f"error: {message}\n"


def test_a_command_is_a_function_or_an_app(sealora, monkeypatch):
    class Single:
        @staticmethod
        def demo(word: str = "x") -> None:
            """Say a word."""
            print(word)

    monkeypatch.setattr(module, "import_module", lambda _: Single)
    assert sealora("demo", "--word", "hello") == (0, "hello\n", "")
