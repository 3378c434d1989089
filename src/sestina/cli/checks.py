"""What `sestina doctor` looks at. Each check answers with findings and never raises."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import pkgutil
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sestina.cli.report import size

if TYPE_CHECKING:
    import torch

_CPU_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_REQUIRED = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "numba")
_IMPLEMENTATIONS = ("reference", "cpu", "triton")
_MATMUL_SIZE = 768
_MIN_FREE_BYTES = 1_000_000_000


class Finding(NamedTuple):
    """One line of the report. `hint` is set for a problem; a fatal one stops Sestina altogether."""

    name: str
    value: str
    hint: str | None = None
    is_fatal: bool = False


def check_python() -> Iterator[Finding]:
    """The interpreter and the system."""
    version = platform.python_version()
    hint = None if sys.version_info >= (3, 10) else "Sestina needs Python 3.10 or newer"
    yield Finding("python", f"{version} ({sys.executable})", hint, hint is not None)
    yield Finding("platform", platform.platform())


def check_cpu() -> Iterator[Finding]:
    """Cores this process may use, and the instructions that matter for speed."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = _cpuinfo()
    model = info.get("model name") or platform.processor() or platform.machine()
    yield Finding("cpu", f"{model}, {cores} cores usable of {os.cpu_count()}")
    if "flags" in info:
        flags = set(info["flags"].split())
        found = [flag for flag in _CPU_FLAGS if flag in flags]
        hint = None if "avx2" in flags else "without AVX2 this will be slow"
        yield Finding("cpu instructions", ", ".join(found) or "none of note", hint)


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo; {} where there is none."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def check_memory() -> Iterator[Finding]:
    """Physical memory, and what could be used now."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
        available = page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        yield Finding("memory", "unknown on this system")
        return
    try:  # counts what the page cache would give back, which sysconf does not
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))
        available = 1024 * int(kib)
    except (OSError, StopIteration):
        pass
    hint = None if available >= _MIN_FREE_BYTES else "the default model needs about 1 GB free"
    yield Finding("memory", f"{size(available)} available of {size(total)}", hint)


def check_packages() -> Iterator[Finding]:
    """Versions of what Sestina stands on."""
    for name in _REQUIRED:
        version = _version(name)
        if version is None:
            yield Finding(name, "not installed", "run: pip install sestina", is_fatal=True)
        else:
            yield Finding(name, version)
    gguf = _version("gguf")
    hint = None if gguf else "needed to read .gguf models: pip install 'sestina[gguf]'"
    yield Finding("gguf", gguf or "not installed", hint)
    triton = _version("triton")
    yield Finding("triton", triton or "not installed (needed on a GPU only)")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_device() -> Iterator[Finding]:
    """Where the engine would compute, in which number format, and how fast a matmul is there."""
    try:
        import torch

        from sestina.backend.device import DTYPES, computes_bfloat16, pick_device
    except ImportError as error:
        yield Finding("device", f"torch cannot be imported: {error}", "reinstall torch", True)
        return
    device = pick_device("auto")
    why = "torch sees a CUDA device"
    if device.type == "cpu":
        built = torch.version.cuda or torch.version.hip
        why = "torch sees no GPU" if built else "this torch is built for CPUs only"
    yield Finding("device", f"{device.type}: {why}")
    native = "native" if computes_bfloat16(device) else "emulated, so float32 is the default"
    yield Finding("bfloat16", native)
    for name, dtype in DTYPES.items():
        a = torch.ones(_MATMUL_SIZE, _MATMUL_SIZE, dtype=dtype, device=device)
        seconds = min(_matmul_seconds(a) for _ in range(5))
        rate = 2 * _MATMUL_SIZE**3 / seconds / 1e9
        yield Finding(f"matmul {name}", f"{rate:,.0f} GFLOP/s, {torch.get_num_threads()} threads")


def _matmul_seconds(a: torch.Tensor) -> float:
    started = time.perf_counter()
    float((a @ a)[0, 0])  # reading a value waits for the device
    return time.perf_counter() - started


def check_kernels() -> Iterator[Finding]:
    """Which implementations of each operation can be imported."""
    try:
        kernels = importlib.import_module("sestina.kernels")
    except ImportError as error:
        yield Finding("kernels", f"cannot be imported: {error}", "reinstall sestina", True)
        return
    for operation in pkgutil.iter_modules(kernels.__path__):
        if not operation.ispkg:
            continue
        found, broken = [], []
        name = f"sestina.kernels.{operation.name}"
        try:
            package = importlib.import_module(name)
            present = {module.name for module in pkgutil.iter_modules(package.__path__)}
        except ImportError as error:
            yield Finding(f"kernel {operation.name}", f"broken: {error}", "reinstall", True)
            continue
        for implementation in (i for i in _IMPLEMENTATIONS if i in present):
            try:
                importlib.import_module(f"{name}.{implementation}")
                found.append(implementation)
            except ImportError as error:
                broken.append(f"{implementation}: {error}")
        hint = "; ".join(broken) or None
        yield Finding(f"kernel {operation.name}", ", ".join(found) or "none", hint)


def check_cache() -> Iterator[Finding]:
    """The folder models are kept in, and the models in it."""
    try:
        from sestina.backend.weights.fetch import cache_dir, cached_models
    except ImportError as error:
        yield Finding("cache folder", f"unknown: {error}", "reinstall sestina", True)
        return
    folder = cache_dir()
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK)
    hint = None if writable else "not writable: set SESTINA_CACHE to a folder that is"
    used = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    free = shutil.disk_usage(existing).free
    yield Finding("cache folder", f"{folder}, {size(used)} used, {size(free)} free", hint)
    models = ", ".join(model.name for model in cached_models())
    yield Finding("models fetched", models or "none: sestina models pull smollm2-135m-instruct")


CHECKS = (
    check_python,
    check_cpu,
    check_memory,
    check_packages,
    check_device,
    check_kernels,
    check_cache,
)
