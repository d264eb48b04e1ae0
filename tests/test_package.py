"""What a user gets: the wheel's contents, three light commands, a package that needs no torch."""

import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = (
    "torch", "transformers", "vllm", "datasets", "lm_eval", "matplotlib", "statsmodels", "openai",
    "tiktoken",
)  # fmt: skip
COMMANDS = {
    "kv_tasks.cli": ("register", "unregister", "path", "status", "data"),
    "kv_train.cli": ("check", "run", "openai", "model"),
    "kv_adapters.cli": ("verify", "serve", "eval", "compare", "report"),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", str(out), str(ROOT)], check=True)
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_every_task_file_and_recipe_travels_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    places = {"task_configs": "kv_tasks/task_configs", "train/recipes": "kv_train/recipes"}
    for here, there in places.items():
        files = [file for file in (ROOT / here).rglob("*") if file.is_file()]
        assert len(files) > 0
        for file in files:
            assert f"{there}/{file.relative_to(ROOT / here).as_posix()}" in names
    assert "kv_adapters/reports/templates/report.html.j2" in names
    assert "kv_tasks/py.typed" in names


def test_no_package_takes_the_name_of_another_on_the_index(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "kv_tasks", "kv_train", "kv_adapters",
    }  # fmt: skip


def test_the_wheel_declares_the_commands_and_both_plug_ins(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    text = wheel.read(name).decode()
    for line in (
        "kv-tasks = kv_tasks.cli:main",
        "kv-train = kv_train.cli:main",
        "kv-adapters = kv_adapters.cli:main",
        "[lm_eval.tasks]",
        "[vllm.general_plugins]",
    ):
        assert line in text


@pytest.mark.parametrize("module", COMMANDS)
def test_each_program_says_its_version(module: str) -> None:
    code = f"import sys, {module}\nsys.argv = ['program', '--version']\n{module}.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"kv-tasks {version('kv-tasks')}\n"


@pytest.mark.parametrize("module", COMMANDS)
def test_help_lists_the_commands_and_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, {module}\nsys.argv = ['program', '--help']\n"
        f"try:\n    {module}.main()\nfinally:\n"
        f"    loaded = [name for name in {HEAVY} if name in sys.modules]\n"
        "    assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS[module]:
        assert f" {command} " in done.stdout


def test_the_tasks_package_works_without_torch() -> None:
    code = (
        "import sys\n"
        "from kv_tasks import kv_simple, mdqa\n"
        "made = kv_simple.load(dictionaries=4, samples=2)['test']\n"
        "found = mdqa.load(corpus='encyclopedia', documents=5, gold_position=3)['test']\n"
        "assert 'Document [5]' in mdqa.doc_to_text(found[0])\n"
        "print(len(made), 'torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "2 False", done.stderr
