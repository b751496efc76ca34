"""Backends ``docker`` and ``podman``: a worker in a container without network, from an image of this very installation.

By name only, never chosen. Needs the program, its daemon or rootless set-up, and the image ``hyposcreen:VERSION``; nothing is
ever pulled. Closed by the container: the host's files but the caches (read-only), its network, its processes, capabilities,
more memory and processes than it may have. Open: programs of the image, a scratch folder of its own, the host's kernel to the
profile of the program. Written from the documentation of ``docker run`` and ``podman run``; **not tried against a daemon**.
"""

from functools import partial

from .base import Launch, Launching

_IMPORTS = 2 << 30
"""Bytes for what a worker holds after its imports; a container counts them, a worker's own limit does not."""
_PROCESSES = 64
_SCRATCH = "/tmp"


def command(program: str, launch: Launch) -> tuple[str, ...]:
    """The command line that starts one worker. Pure."""
    memory = str(launch.memory_bytes + _IMPORTS)
    variables = {**launch.environment, "HOME": _SCRATCH, "NUMBA_CACHE_DIR": f"{_SCRATCH}/kernels"}
    for of_the_host in ("PATH", "LD_LIBRARY_PATH", "NUMBA_CPU_NAME"):
        variables.pop(of_the_host, None)
    # Rootless podman runs as the account itself, which has the number 0 inside.
    account = ("--user", launch.account) if program == "docker" else ()
    return (
        program, "run", "--rm", "--interactive", "--pull", "never", "--name", launch.name,
        "--network", "none", "--read-only", "--tmpfs", f"{_SCRATCH}:rw,nosuid,nodev,size=64m,mode=1777",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", str(_PROCESSES),
        "--memory", memory, "--memory-swap", memory, *account, "--workdir", "/",
        *(part for path in launch.caches for part in ("--mount", f"type=bind,source={path},target={path},readonly")),
        *(part for name, value in sorted(variables.items()) for part in ("--env", f"{name}={value}")),
        launch.image, "python", *launch.arguments,
    )  # fmt: skip


def end(program: str, name: str) -> tuple[str, ...]:
    """The command line that ends it, whatever it does; the client's own end does not. Pure."""
    return (program, "kill", name)


def _backend(program: str, *needs: str) -> Launching:
    return Launching(
        name=program,
        confines=f"{program} container: no network, read-only, caches read-only, no capabilities, limits of memory and "
        "processes; constructed environment",
        holds_code=False,
        open=("programs of the image", "a scratch folder of its own", "the kernel, to the program's own profile"),
        lets=frozenset(
            {"start a process", "run a program", "open a local socket", "share memory without limit", "raise a limit"}
        ),
        chosen=False,
        untried="it was not tried against a daemon",
        command=partial(command, program),
        needs=("HOME", "XDG_", *needs),
        end=partial(end, program),
    )


DOCKER, PODMAN = _backend("docker", "DOCKER_"), _backend("podman", "CONTAINER")
