"""What to serve, where and to whom: decided and checked in full before anything is loaded."""

import errno
import ipaddress
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kv_adapters.checks.files import refuse_broken
from kv_adapters.engine_settings import refuse_cuda_torch
from kv_tasks.errors import UsageError
from kv_train.models import hub_cache_name, public_name, resolve_model

LOOPBACK = "127.0.0.1"
# vLLM's flags that decide where the server is, who may ask it, and for what.
OWN_FLAGS = (
    "--model", "--served-model-name", "--lora-modules", "--host", "--port", "--uds", "--api-key",
    "--ssl-keyfile", "--ssl-certfile", "--root-path",
)  # fmt: skip
# Those that the adapters decide: vLLM takes the last of a flag that is there twice.
ADAPTER_FLAGS = (
    "--enable-lora", "--no-enable-lora", "--max-lora-rank", "--max-loras", "--lora-target-modules",
)  # fmt: skip
# Adapters loaded at run time under a name of before would get its answers from the cache.
CACHE_FLAGS = ("--enable-prefix-caching",)


@dataclass(frozen=True)
class ServeRequest:
    """What a user asks for.

    Attributes:
        base: folder, hub name or short name of the base model.
        adapters: adapter folders; their names are the models' names.
        host: address to listen on.
        port: 0 for any free one.
        api_key: that every request must carry; None for none on loopback, a random one elsewhere.
        max_length: context in tokens, None for the model's own.
        allow_runtime_loading: whether clients may load adapters by path.
        timeout: seconds in which the server must be ready.
        log: file for what vLLM prints, None for a temporary one.
        seed: of the engine.
        vllm_flags: passed on unchanged.
    """

    base: str
    adapters: Sequence[Path] = ()
    host: str = LOOPBACK
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)
    max_length: int | None = None
    allow_runtime_loading: bool = False
    timeout: float = 600
    log: Path | None = None
    seed: int = 1234
    vllm_flags: Sequence[str] = ()


@dataclass(frozen=True)
class Server:
    """A server whose models were checked: where it will be, and what it will answer for.

    Attributes:
        base: folder of the base model.
        base_name: under which it is served.
        adapters: name to folder.
        host, port: to listen on; the port was free a moment ago.
        api_key: that every request must carry, if any.
    """

    base: Path
    base_name: str
    adapters: Mapping[str, Path]
    host: str = LOOPBACK
    port: int = 8000
    api_key: str | None = field(default=None, repr=False)

    @property
    def models(self) -> list[str]:
        """The names that clients ask for, the base first."""
        return [self.base_name, *self.adapters]

    @property
    def connect_host(self) -> str:
        """The address under which this machine reaches the server."""
        return {"": LOOPBACK, "0.0.0.0": LOOPBACK, "::": "::1"}.get(self.host, self.host)

    @property
    def url(self) -> str:
        """The address with scheme and port, without /v1."""
        host = f"[{self.connect_host}]" if ":" in self.connect_host else self.connect_host
        return f"http://{host}:{self.port}"


def prepare(request: ServeRequest) -> Server:
    """Check flags, port, vLLM, names and models, in the order of what that costs.

    Raises:
        UsageError: a flag, the port or a name cannot be.
        MissingPackageError: vLLM is missing, or torch is the wrong build for it.
        ModelError, AdapterError: a model is not there or is not what it says.
    """
    refuse_own_flags(request.vllm_flags, loading=request.allow_runtime_loading)
    port = free_port(request.host, request.port)
    refuse_cuda_torch()
    folder = resolve_model(request.base)
    base_name = served_name(request.base, folder)
    adapters = named(request.adapters, base_name)
    for adapter in adapters.values():
        refuse_broken(adapter, folder)
    key = request.api_key or (None if is_loopback(request.host) else secrets.token_urlsafe(24))
    return Server(folder, base_name, adapters, request.host, port, key)


def served_name(given: str, folder: Path) -> str:
    """Return a base model's name: its folder's, on the hub if it is from there, or as given."""
    if public_name(given) is None:
        return folder.name
    return hub_cache_name(folder) or given


def named(adapters: Sequence[Path], base_name: str) -> dict[str, Path]:
    """Return adapter folders by name.

    Raises:
        UsageError: two models would have one name.
    """
    folders = {folder.name: folder for folder in (adapter.resolve() for adapter in adapters)}
    if len(folders) < len(adapters) or base_name in folders:
        raise UsageError(
            "--adapter: folder names are the models' names and must differ from each other and "
            f"from the base's, {base_name}; found {', '.join(a.resolve().name for a in adapters)}"
        )
    return folders


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def free_port(host: str, port: int) -> int:
    """Return ``port``, or any free one for 0.

    Raises:
        UsageError: the port is taken, or this machine cannot listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server itself will: a port whose connections have just ended is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            where = f"--host {host} --port {port}"
            if error.errno == errno.EADDRINUSE:
                raise UsageError(
                    f"{where}: the port is taken; choose another, or --port 0 for any free one"
                ) from error
            raise UsageError(f"{where}: cannot listen there ({error.strerror})") from error
        return int(probe.getsockname()[1])


def refuse_own_flags(flags: Sequence[str], *, loading: bool = False) -> None:
    """Raise UsageError for what cannot be passed on to vLLM.

    Args:
        flags: of vLLM.
        loading: whether clients may load adapters.
    """
    if flags and not flags[0].startswith("-"):
        raise UsageError(f"{flags[0]!r}: not an option; an adapter is given as --adapter DIR")
    for flag in flags:
        name = flag.partition("=")[0].replace("_", "-")
        if name in ADAPTER_FLAGS:
            raise UsageError(f"-- {name}: the adapters decide it; start vLLM by itself for another")
        if loading and name in CACHE_FLAGS:
            raise UsageError(
                f"-- {name}: off with --allow-runtime-loading, or an adapter that is loaded under "
                "a name of before would get that one's answers"
            )
        # vLLM's parser takes every beginning of a flag that only one flag has.
        if len(name) > len("--") and any(own.startswith(name) for own in OWN_FLAGS):
            raise UsageError(
                f"-- {name}: decided by kv-adapters serve, which must find its server again; use "
                "its own options (see --help), or start vLLM by itself"
            )
