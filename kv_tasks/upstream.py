"""A family's folder for the harness's own tree, which needs nothing of this package.

``utils.py`` is assembled from the modules here (:mod:`kv_tasks.upstream_source`), so that prompts
and scores are ours to the byte. What only makes sense here stays out: token windows, registered
copies, the task class; a README's passages between ``<!-- here -->`` and ``<!-- /here -->``. What
a README says there alone is a comment here: ``<!-- upstream: ... -->``.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from kv_tasks import console
from kv_tasks.datafiles import (
    FLENQA,
    NQ_OPEN_ORACLE,
    NQ_OPEN_RETRIEVED,
    PUBLISHED,
    PUBLISHED_KEYS,
    UUID_RECORDS,
)
from kv_tasks.errors import UsageError
from kv_tasks.files import atomic_path, check_out
from kv_tasks.paths import task_configs
from kv_tasks.upstream_source import Bundle

# Names a folder of published files for machines without a network.
VARIABLE = "LM_EVAL_TASK_DATA"

_PUBLISHED = f'''
def published(relative_path: str) -> Path:
    """Return the local path of a published file, downloaded once by the datasets library.

    Args:
        relative_path: a name in ``PUBLISHED``; looked for in ${VARIABLE} if that is set.
    """
    if folder := os.environ.get("{VARIABLE}"):
        if not (path := Path(folder) / relative_path).is_file():
            raise FileNotFoundError(f"{{path}}: not there, where ${VARIABLE} points")
        return path
    url, sha256 = PUBLISHED[relative_path]
    # Without asking the server whether the file has changed: then no network is needed again.
    config = datasets.DownloadConfig(use_etag=False)
    try:
        path = Path(datasets.DownloadManager(download_config=config).download(url))
    except Exception as error:  # the library's own, its client's, the system's
        way = f"set ${VARIABLE} to a folder that holds {{relative_path}}"
        raise OSError(f"{{url}}: cannot be downloaded ({{error}}); {{way}}") from error
    if sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise ValueError(f"{{path}}: not the file of {{url}}; delete it to download it again")
    return path
'''
_REMEDY = '''
def remedy(path: Path) -> str:
    """Return what to do about a damaged file."""
    return f"delete {path} and fetch it again"
'''
_READ = '''
def read_jsonl_gz(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a gzipped JSON-lines file."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{path}: not a whole file ({error}); {remedy(path)}") from error
'''
_ROWS = '''
def rows() -> Iterator[dict[str, Any]]:
    """Yield the published rows, checked."""
    path = published(FLENQA)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            names = [name for name in names if not name.startswith("__MACOSX/")]
            names = [name for name in names if name.endswith((".json", ".jsonl"))] or names
            if len(names) != 1:
                raise ValueError(f"{path}: holds {archive.namelist()}, expected one file")
            lines = archive.read(names[0]).splitlines()
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: not a whole zip file ({error})") from error
    for line, text in enumerate(lines, start=1):
        row = json.loads(text)
        _check(row, f"{path}, line {line}")
        yield row
'''
_CORPORA = """
CORPORA: dict[str, Callable[[], tuple[Question, ...]]] = {
    "nq-open": lambda: _part(nq_open_all(), training=False),
    "nq-open-all": nq_open_all,
}
"""
_LOAD_MDQA = '''
def load(
    *,
    corpus: str,
    documents: int,
    gold_position: int | None = None,
    distractors: Distractors = "random",
    samples: int | None = None,
    data_seed: int = 0,
    **_: Any,
) -> dict[str, datasets.Dataset]:
    """Build the task's documents (the harness's ``custom_dataset``).

    Args:
        corpus: a name of ``CORPORA``.
        documents: number of documents in the prompt; 1 is the oracle, 0 the closed book.
        gold_position: 1-based place of the gold document; None for the closed book.
        distractors: gold documents of other questions, or those that were retrieved for the
            question and published with it.
        samples: number of questions; None for all.
        data_seed: of the choice of distractors.
        _: what else the harness merges in.
    """
    check_choice("mdqa_pos", "distractors", distractors, get_args(Distractors))
    check_samples("mdqa_pos", samples, len(_asked(corpus)))
    rows = fixed_rows(
        corpus=corpus,
        documents=documents,
        gold_position=gold_position,
        distractors=distractors,
        samples=samples,
        data_seed=data_seed,
    )
    return {"test": datasets.Dataset.from_list(rows)}
'''
_LOAD_KIND = '''
def load_kind(
    kind: Kind,
    *,
    samples: int,
    dictionaries: int,
    data_seed: int = 0,
    placement: Placement = "even",
    template: bool = True,
    **_: Any,
) -> dict[str, datasets.Dataset]:
    """Build a task's documents (the harness's ``custom_dataset``).

    Args:
        kind: what is asked for.
        samples: number of documents.
        dictionaries: lines of the haystack.
        data_seed: of the evaluation stream.
        placement: where the needles lie, see ``contexts``.
        template: whether the prompt shows the answer template.
        _: what else the harness merges in.
    """
    check_choice(f"kv_{kind.name}", "placement", placement, get_args(Placement))
    check_samples(f"kv_{kind.name}", samples, endless=True)
    rows = kind_rows(
        kind,
        samples=samples,
        dictionaries=dictionaries,
        data_seed=data_seed,
        placement=placement,
        template=template,
    )
    return {"test": datasets.Dataset.from_list(list(rows))}
'''


@dataclass(frozen=True)
class Family:
    """A folder of ``task_configs`` that can leave this project.

    Attributes:
        title: the first line of its ``utils.py``.
        files: published files that it reads.
        replaced: upstream's text for definitions that do more here.
    """

    title: str
    files: tuple[str, ...] = ()
    replaced: Mapping[str, str] = field(default_factory=dict)


_FILES = {
    "kv_tasks.datafiles.published": _PUBLISHED,
    "kv_tasks.datafiles.read_jsonl_gz": _READ,
    "kv_tasks.datafiles.remedy": _REMEDY,
}
FAMILIES: dict[str, Family] = {
    "mdqa_pos": Family(
        "Multi-document question answering by gold position (Liu et al., arXiv 2307.03172).",
        (NQ_OPEN_ORACLE, NQ_OPEN_RETRIEVED),
        {
            "kv_tasks.mdqa.load": _LOAD_MDQA,
            "kv_tasks.corpora.CORPORA": _CORPORA,
            **_FILES,
        },
    ),
    "kv_uuid": Family(
        "Key-value retrieval from a JSON object (Liu et al., arXiv 2307.03172).",
        tuple(UUID_RECORDS.format(keys=keys) for keys in PUBLISHED_KEYS),
        _FILES,
    ),
    "kv_simple": Family(
        "Dictionary key-value retrieval (Xiong et al., arXiv 2406.19292).",
        replaced={"kv_tasks.kv_documents.load_kind": _LOAD_KIND},
    ),
    "flenqa": Family(
        "FLenQA: the same reasoning in longer texts (Levy et al., arXiv 2402.14848).",
        (FLENQA,),
        {"kv_tasks.flenqa_data.rows": _ROWS, "kv_tasks.datafiles.published": _PUBLISHED},
    ),
}
_FUNCTION = re.compile(r"!function (kv_tasks\.\w+\.\w+)")
_CLASS = re.compile(r"^class: .*\n", re.MULTILINE)
_SKIPPED = re.compile(r"^  - metric: skipped\n(?:    .*\n)+", re.MULTILINE)
_SHARED = re.compile(r"^# Shared by the tasks of .*\n(?:# .*\n)*", re.MULTILINE)
_HERE = re.compile(r"<!-- here -->.*?<!-- /here -->", re.DOTALL)
_THERE = re.compile(r"<!-- upstream: (.*?) -->", re.DOTALL)


def write(family: str, out: Path) -> Path:
    """Write a family's folder into ``out`` and return it.

    Raises:
        UsageError: when there is no such family, ``out`` cannot be a folder, or the family's folder
            exists and holds something.
    """
    if family not in FAMILIES:
        raise UsageError(f"family {family!r}: choose one of {', '.join(FAMILIES)}")
    check_out(out, folder=True)
    target = out / family
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: exists and is not empty; name another --out, or remove it")
    texts = _configs(task_configs() / family)
    files = {name: _FUNCTION.sub(_utils, text) for name, text in texts.items()}
    files["utils.py"] = _source(FAMILIES[family], "".join(texts.values()))
    readme = (task_configs() / family / "README.md").read_text(encoding="utf-8")
    files["README.md"] = _readme(readme)
    with atomic_path(target) as draft:
        draft.mkdir()
        for name, text in files.items():
            (draft / name).write_text(text, encoding="utf-8", newline="\n")
    return target


def _configs(folder: Path) -> dict[str, str]:
    """Return the YAML that goes upstream by file name, less windows and what is ours alone."""
    found = {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*yaml"))}
    configs = {name: yaml.safe_load(_FUNCTION.sub("x", text)) for name, text in found.items()}
    windows = {
        name.removesuffix(".yaml")
        for name, config in configs.items()
        if "tokens" in (config.get("metadata") or {})
    }
    kept = {}
    for name, text in found.items():
        members = set(configs[name].get("task") or [])
        if name.removesuffix(".yaml") not in windows and not members & windows:
            text = _SKIPPED.sub("", _CLASS.sub("", text))
            kept[name] = _SHARED.sub("# Shared by the tasks of this folder.\n", text)
    return kept


def _readme(text: str) -> str:
    """Return a README less what only makes sense in this project."""
    text = _THERE.sub(r"\1", _HERE.sub("", text)).replace('--include_path "$(kv-tasks path)" ', "")
    return re.sub(r"\n{3,}", "\n\n", text.replace("KV_TASKS_DATA", VARIABLE))


def _utils(named: re.Match[str]) -> str:
    return f"!function utils.{named[1].rpartition('.')[2]}"


def _source(family: Family, configs: str) -> str:
    replaced = dict(family.replaced)
    table = {name: (PUBLISHED[name].url, PUBLISHED[name].sha256) for name in family.files}
    replaced["kv_tasks.datafiles.PUBLISHED"] = _table(table)
    bundle = Bundle(replaced)
    # What builds the documents comes first, whatever the order of the files.
    names = dict.fromkeys(_FUNCTION.findall(configs))
    for name in sorted(names, key=lambda name: not name.endswith(".load")):
        bundle.add(name)
    return _formatted(bundle.render(family.title))


def _table(files: Mapping[str, tuple[str, str | None]]) -> str:
    """Return the source text of the table of published files."""
    rows = []
    for name, (url, sha256) in files.items():
        digest = "None" if sha256 is None else f'"{sha256}"'
        rows.append(f'    "{name}": (\n        "{url}",\n        {digest},\n    ),\n')
    return (
        "# Address and SHA-256, None where it is not known.\n"
        f"PUBLISHED: dict[str, tuple[str, str | None]] = {{\n{''.join(rows)}}}"
    )


def _formatted(source: str) -> str:
    """Return source with its imports sorted and formatted by ruff, as the harness's own is."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    ruff = shutil.which("ruff", path=path)
    if ruff is None:
        console.warn("ruff is not installed: run ruff check --fix and ruff format over utils.py")
        return source
    sort = ["check", "--select", "I", "--fix", "--config", "lint.isort.lines-after-imports=2"]
    for step in (sort, ["format"]):
        command = [ruff, *step, "--quiet", "--isolated", "--target-version", "py310", "-"]
        # In UTF-8 whatever the locale: the prompts have typographic quotation marks.
        done = subprocess.run(
            command, input=source, stdout=subprocess.PIPE, encoding="utf-8", check=True
        )
        source = done.stdout
    return source
