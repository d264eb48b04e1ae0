"""A local stand-in for the parts of the OpenAI API that a fine-tuning job uses.

It keeps files and jobs, moves a job along its course with each look at it, and can be told to
fail a request, or to hold the answer to one that is carried out already.
"""

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "test-key"
MODEL = "gpt-3.5-turbo-1106"
RECIPE = f"""
name: paper
model: {MODEL}
data: {{kind: multi-subkey, samples: 12, dictionaries: 5}}
openai: {{epochs: 3, seed: 7, suffix: kv, dollars_per_million_tokens: 8.0}}
"""
COURSE = ("validating_files", "queued", "running", "running", "succeeded")
PAGE = 2


@dataclass
class Fault:
    """An answer other than the true one, to requests whose line begins with ``line``."""

    line: str
    status: int
    error: dict[str, Any]
    headers: dict[str, str]
    times: int
    carried_out: bool


@dataclass
class Hold:
    """An answer held back, to the first request whose line begins with ``line``."""

    line: str
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class RefusalError(Exception):
    """A request that the service refuses."""

    def __init__(self, status: int, **error: Any) -> None:
        self.status, self.error = status, error


class Service:
    """The service and what it was asked. ``seen`` counts lines such as "POST /v1/files"."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.files: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.course: tuple[str, ...] = COURSE
        self.job_error: dict[str, Any] | None = None
        self.file_looks = 1
        self._looks: Counter[str] = Counter()
        self._faults: list[Fault] = []
        self._holds: list[Hold] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        for hold in self._holds:
            hold.released.set()
        self._server.shutdown()
        self._server.server_close()

    def fail(
        self,
        line: str,
        status: int,
        *,
        times: int = 1,
        carried_out: bool = False,
        headers: dict[str, str] | None = None,
        **error: Any,
    ) -> None:
        self._faults.append(Fault(line, status, error, headers or {}, times, carried_out))

    def hold(self, line: str) -> Hold:
        self._holds.append(Hold(line))
        return self._holds[-1]

    def respond(
        self, line: str, key: str, query: dict[str, str], body: bytes, kind: str
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        with self._lock:
            self.seen[line] += 1
            fault = next((f for f in self._faults if line.startswith(f.line) and f.times), None)
            status, answer, headers = 200, {}, {}
            if fault is None or fault.carried_out:
                try:
                    answer = self._carry_out(line, key, query, body, kind)
                except RefusalError as refusal:
                    status, answer = refusal.status, {"error": refusal.error}
            if fault is not None:
                fault.times -= 1
                status, answer, headers = fault.status, {"error": fault.error}, fault.headers
        for hold in self._holds:
            if line.startswith(hold.line) and not hold.released.is_set():
                hold.reached.set()
                hold.released.wait(60)
        return status, answer, headers

    def _carry_out(
        self, line: str, key: str, query: dict[str, str], body: bytes, kind: str
    ) -> dict[str, Any]:
        if key != f"Bearer {KEY}":
            raise RefusalError(401, message="Incorrect API key provided.", code="invalid_api_key")
        method, path = line.split()
        match [method, *path.removeprefix("/v1/").split("/")]:
            case ["POST", "files"]:
                return self._add_file(body, kind)
            case ["GET", "files"]:
                return _page(list(self.files.values()), query)
            case ["GET", "files", name]:
                return self._look_at_file(name)
            case ["POST", "fine_tuning", "jobs"]:
                return self._add_job(json.loads(body))
            case ["GET", "fine_tuning", "jobs"]:
                return _page(list(self.jobs.values())[::-1], query)
            case ["GET", "fine_tuning", "jobs", name]:
                return self._look_at_job(name)
            case ["GET", "fine_tuning", "jobs", name, "events"]:
                return _page(self._events(name), query)
        raise RefusalError(404, message=f"Invalid URL ({line})")

    def _add_file(self, body: bytes, kind: str) -> dict[str, Any]:
        form = message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
        parts = form.get_payload()
        assert isinstance(parts, list)
        (part,) = [part for part in parts if part.get_filename()]  # type: ignore[union-attr]
        file_id = f"file-{len(self.files) + 1}"
        content = part.get_payload(decode=True)  # type: ignore[union-attr]
        assert isinstance(content, bytes)
        self.contents[file_id] = content
        self.files[file_id] = {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": 1,
            "filename": part.get_filename(),  # type: ignore[union-attr]
            "purpose": "fine-tune",
            "status": "uploaded",
        }
        return self.files[file_id]

    def _look_at_file(self, name: str) -> dict[str, Any]:
        if name not in self.files:
            raise RefusalError(404, message=f"No such File object: {name}", param="id")
        self._looks[name] += 1
        if self._looks[name] > self.file_looks:
            self.files[name]["status"] = "processed"
        return self.files[name]

    def _add_job(self, asked: dict[str, Any]) -> dict[str, Any]:
        if asked["model"] != MODEL:
            raise RefusalError(
                400,
                message=f"The model `{asked['model']}` does not exist.",
                code="model_not_found",
                param="model",
            )
        assert self.files[asked["training_file"]]["status"] == "processed"
        job_id = f"ftjob-{len(self.jobs) + 1}"
        self.jobs[job_id] = {
            **asked,
            "id": job_id,
            "object": "fine_tuning.job",
            "created_at": 1,
            "status": self.course[0],
            "hyperparameters": asked["method"]["supervised"]["hyperparameters"],
            "organization_id": "org-1",
            "result_files": [],
            "error": {"code": None, "message": None, "param": None},
            "fine_tuned_model": None,
            "trained_tokens": None,
        }
        return self.jobs[job_id]

    def _look_at_job(self, name: str) -> dict[str, Any]:
        job = self.jobs[name]
        self._looks[name] += 1
        job["status"] = self.course[min(self._looks[name], len(self.course)) - 1]
        if job["status"] == "succeeded":
            job["fine_tuned_model"] = f"ft:{job['model']}:org:{job['suffix']}:{name}"
            job["trained_tokens"] = 1234
            job["result_files"] = ["file-result"]
        if job["status"] == "failed":
            job["error"] = self.job_error
        return job

    def _events(self, name: str) -> list[dict[str, Any]]:
        """Return as many events as looks, the newest first."""
        told = ["Created fine-tuning job", *(f"Step {n}/3: training loss=0.5" for n in (1, 2, 3))]
        return [
            {
                "id": f"ftevent-{index}",
                "object": "fine_tuning.job.event",
                "created_at": index,
                "level": "info",
                "message": message,
                "type": "metrics" if "Step" in message else "message",
                "data": {"step": index, "train_loss": 0.5} if "Step" in message else {},
            }
            for index, message in enumerate(told[: self._looks[name]])
        ][::-1]


def _page(items: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    ids = [item["id"] for item in items]
    start = ids.index(query["after"]) + 1 if "after" in query else 0
    shown = items[start : start + PAGE]
    return {"object": "list", "data": shown, "has_more": start + PAGE < len(items)}


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Unbuffered, head and body travel apart, and each waits 40 ms for the other.
        wbufsize = -1

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            status, answer, headers = service.respond(
                f"{self.command} {url.path}",
                self.headers.get("Authorization", ""),
                query,
                body,
                self.headers.get("Content-Type", ""),
            )
            text = json.dumps(answer).encode()
            if not url.path.startswith("/v1/"):
                status, text, headers = 200, b"<html>", {"Content-Type": "text/html"}
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", **headers}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler
