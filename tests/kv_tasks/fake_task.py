"""A task in two files and a model that answers by itself, for tests of the harness's ways."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from lm_eval.api.model import LM
from lm_eval.evaluator import evaluate

# Documents of very different lengths; the answer is the prompt's first word.
SIZES = (3, 400, 5, 600, 7, 40)
MODULE = """
import datasets
from kv_tasks.documents import document

def load(*, sizes, tag="a", **_):
    docs = []
    for number, size in enumerate(sizes):
        answer = f"{tag}{number}"
        prompt = answer + " dictionary" * size
        docs.append(document(
            question_id=f"q{number}", answers=[answer], gold_position=None, prompt=prompt))
    return {"test": datasets.Dataset.from_list(docs)}

def process_results(doc, results):
    return {"acc": float(results[0] == doc["answers"][0])}
"""
YAML = f"""
class: !function kv_tasks.task.Task
task: fake
output_type: generate_until
custom_dataset: !function fake.load
process_results: !function fake.process_results
test_split: test
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answers[0]}}}}"
num_fewshot: 0
generation_kwargs: {{until: [], max_gen_toks: 10, do_sample: false, temperature: 0.0}}
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - metric: skipped
    aggregation: !function kv_tasks.scores.total
    higher_is_better: false
metadata: {{version: 1.0, sizes: {list(SIZES)}}}
"""
Loader = Callable[..., Any]


class FakeLM(LM):  # type: ignore[misc]
    """Answers with the prompt's first word, and remembers the prompts."""

    tokenizer_name = "fake"

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[str] = []
        self.settings: list[dict[str, Any]] = []

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        self.prompts += [request.args[0] for request in requests]
        self.settings += [request.args[1] for request in requests]
        return [request.args[0].split("user\n")[-1].split()[0] for request in requests]

    def loglikelihood(self, requests: Any) -> Any:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood

    def apply_chat_template(self, history: list[dict[str, str]], **_: Any) -> str:
        said = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}" for turn in history)
        return f"{said}<|im_end|>\n<|im_start|>assistant\n"


class Unasked(FakeLM):
    """A model that must not be asked anything."""

    def generate_until(self, requests: Sequence[Any], **_: Any) -> list[str]:
        pytest.fail(f"asked {len(requests)} prompts")


def run(loaded: Any, lm: LM | None = None, **settings: Any) -> Any:
    return evaluate(lm or FakeLM(), loaded, bootstrap_iters=0, **settings)


def metrics(results: Any) -> dict[str, Any]:
    return {name.removesuffix(",none"): v for name, v in results["results"]["fake"].items()}


def ids(results: Any) -> list[int]:
    """Return the documents' numbers, once each was joined to its own prompt and answer."""
    for sample in results["samples"]["fake"]:
        answer = sample["doc"]["answers"][0]
        assert sample["doc"]["question_id"] == f"q{sample['doc_id']}"
        assert sample["resps"] == [[answer]]
        assert sample["arguments"][0][0] == sample["doc"]["prompt"]
    return [sample["doc_id"] for sample in results["samples"]["fake"]]
