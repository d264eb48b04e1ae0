"""Families that leave for the harness: self-contained, clean, and the same to the byte."""

import ast
import gzip
import json
import os
import re
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from kv_tasks import kv_uuid
from kv_tasks.datafiles import PUBLISHED_KEYS, UUID_RECORDS
from kv_tasks.errors import UsageError
from kv_tasks.paths import task_configs
from kv_tasks.upstream import FAMILIES, VARIABLE, write
from kv_tasks.upstream_source import Bundle

from .test_flenqa import published_lines
from .test_mdqa import write_retrieved

RESPONSES = (
    "The value of key 2931 is 8364 and it is in Dictionary [32].",
    "It is not true.",
    "Wilhelm Conrad Röntgen\nmore",
    "",
)
# Run with and without this package: what a family asks, in order, and how it scores.
ASK = """
import hashlib, json, sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "kv_tasks":
            raise ModuleNotFoundError(name)

folder, hidden, responses = sys.argv[1], sys.argv[2] == "hidden", json.loads(sys.argv[3])
if hidden:
    sys.meta_path.insert(0, Absent())
from lm_eval.tasks import TaskManager
manager = TaskManager(include_path=folder, include_defaults=False)
found = {}
for name, task in sorted(manager.load(json.loads(sys.argv[4]))["tasks"].items()):
    digest, scores = hashlib.sha256(), []
    delimiter = task.config.target_delimiter
    for number, doc in zip(range(200), task.eval_docs):
        text = task.doc_to_text(doc)
        # The harness's own tests refuse white space twice before the answer.
        assert not (delimiter.isspace() and text[-1:].isspace()), name
        digest.update(f"{text}\\0{task.doc_to_target(doc)}\\0".encode())
        if number < 5:
            answers = [*responses, doc["answers"][0]]
            scores += [task.process_results(doc, [answer]) for answer in answers]
    config = (task.config.generation_kwargs, task.config.metadata["version"])
    found[name] = [digest.hexdigest(), len(task.eval_docs), scores, config]
assert ("kv_tasks" in sys.modules) != hidden
print(json.dumps(found))
"""


@pytest.fixture
def data(tmp_path: Path, shared_data: Path) -> Path:
    """A folder with the published files, FLenQA and what was retrieved made up."""
    folder = tmp_path / "data"
    write_retrieved(folder, shared_data)
    (folder / "flenqa").mkdir()
    with zipfile.ZipFile(folder / "flenqa" / "FLenQA.zip", "w") as archive:
        archive.writestr("FLenQA.jsonl", published_lines())
    write_uuid_records(folder)
    return folder


def write_uuid_records(folder: Path) -> None:
    """Write objects of the published form and number, made up."""
    for keys in PUBLISHED_KEYS:
        made = kv_uuid.load(keys=keys, source="generated")["test"]
        fields = ("ordered_kv_records", "key", "value")
        lines = [json.dumps({field: doc[field] for field in fields}) for doc in made]
        with gzip.open(folder / UUID_RECORDS.format(keys=keys), "wt") as out:
            out.write("\n".join(lines))


def ask(folder: Path, names: list[str], data: Path, *, hidden: bool) -> Any:
    arguments = [str(folder), "hidden" if hidden else "there", json.dumps(RESPONSES)]
    done = subprocess.run(
        [sys.executable, "-c", ASK, *arguments, json.dumps(names)],
        env={**os.environ, "KV_TASKS_DATA": str(data), VARIABLE: str(data)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_order_and_scores_are_ours_without_our_package(
    family: str, tmp_path: Path, data: Path
) -> None:
    folder = write(family, tmp_path / "out")
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    theirs = ask(folder, manager.all_subtasks, data, hidden=True)
    ours = ask(task_configs(), manager.all_subtasks, data, hidden=False)
    assert len(theirs) >= 4
    assert theirs == ours


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_is_clean_by_the_harness_own_rules(family: str, tmp_path: Path) -> None:
    folder = write(family, tmp_path)
    # [tool.ruff.lint] of lm_eval 0.4.13's pyproject.toml.
    (tmp_path / "ruff.toml").write_text(
        'target-version = "py310"\n'
        "[lint]\npreview = true\nexplicit-preview-rules = true\n"
        'extend-select = ["B", "C419", "D", "E", "F", "FURB", "I", "TC", "RUF034", "S", "SIM",\n'
        '  "S307", "UP", "W605"]\n'
        'ignore = ["D10", "D200", "D202", "D205", "D212", "D415", "D417", "E11", "E402", "E501",\n'
        '  "E701", "E731", "E741", "SIM108", "SIM105", "SIM401", "SIM118", "S311", "S701",\n'
        '  "S101"]\n'
        "[lint.isort]\ncombine-as-imports = true\n"
        'known-first-party = ["lm_eval"]\nlines-after-imports = 2\n'
        '[lint.pydocstyle]\nconvention = "google"\nignore-var-parameters = true\n',
        encoding="utf-8",
    )
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--config", "ruff.toml", str(folder)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_of_this_project_is_left_in_a_folder(family: str, tmp_path: Path) -> None:
    folder = write(family, tmp_path)
    for path in folder.iterdir():
        text = path.read_text(encoding="utf-8")
        for ours in ("kv_tasks", "kv-tasks", "KV_TASKS", "refuse_stale", "class: !", "skipped"):
            assert ours not in text, f"{path.name}: {ours}"
        # A family's own; those over the generated encyclopedia stay here.
        assert "_synth" not in text.replace("kv_uuid_synth", ""), path.name
        assert "<!--" not in text, path.name
    names = {path.stem for path in folder.glob("*.yaml")}
    assert names
    assert not any(re.search(r"_\d+k(_|$)", name) for name in names)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_readme_promises_nothing_that_is_only_here(family: str, tmp_path: Path) -> None:
    text = (write(family, tmp_path) / "README.md").read_text(encoding="utf-8")
    for ours in ("FLenQA.jsonl", "kept for training", "training data of", "tested", "tests here"):
        assert ours not in text, ours
    # What our own task class sees to is left to the reader there.
    assert "`--cache_requests refresh`" in text
    for block in re.findall(r"^```\n(lm_eval .*?)^```", text, re.MULTILINE | re.DOTALL):
        assert "--include_path" not in block


def test_a_folder_is_the_same_whatever_the_locale(tmp_path: Path) -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = (
        "import sys, kv_tasks.upstream as u, pathlib; u.write('flenqa', pathlib.Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "plain")],
        env={**os.environ, **plain},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for path in write("flenqa", tmp_path / "usual").iterdir():
        assert (tmp_path / "plain" / "flenqa" / path.name).read_bytes() == path.read_bytes()
        assert b"\r" not in path.read_bytes()


def test_utils_imports_nothing_that_the_harness_does_not_bring(tmp_path: Path) -> None:
    brought = {line.split(">")[0].split("[")[0].strip() for line in requires("lm_eval") or []}
    for family in FAMILIES:
        source = (write(family, tmp_path) / "utils.py").read_text(encoding="utf-8")
        for line in source.splitlines():
            if line.startswith(("import ", "from ")):
                package = line.split()[1].split(".")[0]
                assert package in sys.stdlib_module_names or package in brought, line


def test_an_unknown_family_and_a_folder_with_something_in_it_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="family 'mdqa': choose one of mdqa_pos, kv_uuid, kv_simple"
    ):
        write("mdqa", tmp_path)
    (tmp_path / "flenqa").mkdir()
    (tmp_path / "flenqa" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match="flenqa: exists and is not empty"):
        write("flenqa", tmp_path)
    assert (tmp_path / "flenqa" / "mine.txt").read_text(encoding="utf-8") == "mine"
    with pytest.raises(UsageError, match=r"--out .*mine\.txt is a file; name a path in a folder"):
        write("flenqa", tmp_path / "flenqa" / "mine.txt")


def test_no_statement_is_written_twice(tmp_path: Path) -> None:
    for family in FAMILIES:
        source = (write(family, tmp_path / family) / "utils.py").read_text()
        written = [ast.unparse(statement) for statement in ast.parse(source).body]
        assert len(written) == len(set(written)), family


def test_two_definitions_of_one_name_are_refused() -> None:
    bundle = Bundle({})
    bundle.add("kv_tasks.flenqa_scores.normalize")
    with pytest.raises(ValueError, match="are both named normalize"):
        bundle.add("kv_tasks.normalize.normalize")


@pytest.mark.parametrize(
    ("family", "call", "message"),
    [
        ("mdqa_pos", "load(corpus='nq-open', documents=5, gold_position=1, distractors='x')",
         "distractors 'x'; choose one of random, retrieved"),
        ("mdqa_pos", "load(corpus='nq-open', documents=5, gold_position=1, samples=0)",
         "samples 0; choose 1 to"),
        ("kv_simple", "load(samples=2, dictionaries=5, placement='unifrom')",
         "placement 'unifrom'; choose one of paper, uniform, even"),
        ("kv_simple", "load(samples=-1, dictionaries=5)", "samples -1; choose 1 or more"),
    ],
)  # fmt: skip
def test_metadata_that_names_nothing_is_refused_upstream_too(
    family: str, call: str, message: str, tmp_path: Path, data: Path
) -> None:
    folder = write(family, tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-c", f"import utils; utils.{call}"],
        cwd=folder,
        env={**os.environ, VARIABLE: str(data)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_a_published_file_is_fetched_once_and_needs_no_network_then(tmp_path: Path) -> None:
    folder = write("flenqa", tmp_path / "out")
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "FLenQA.zip").write_bytes(b"zip")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path / "www")
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/FLenQA.zip"
    script = (
        f"import utils; utils.PUBLISHED[utils.FLENQA] = ({url!r}, None); "
        "print(utils.published(utils.FLENQA).read_bytes())"
    )

    def fetched() -> str:
        env = {**os.environ, "HF_DATASETS_CACHE": str(tmp_path / "cache"),
               "HF_HOME": str(tmp_path / "hf")}  # fmt: skip
        env.pop(VARIABLE, None)
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    assert fetched() == "b'zip'\n"
    server.shutdown()
    server.server_close()
    assert fetched() == "b'zip'\n"
