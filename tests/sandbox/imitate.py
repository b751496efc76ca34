"""Run a program under an outer filter that imitates another machine: ``python imitate.py WHAT PROGRAM …``."""

import errno
import os
import sys

from hyposcreen.agent.sandbox.linux import lockdown
from hyposcreen.agent.sandbox.linux.filter import refusing
from hyposcreen.agent.sandbox.linux.syscalls import here

LANDLOCK = ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")
CONTAINER = (
    "unshare", "setns", "mount", "umount2", "pivot_root", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key",
    "request_key", "io_uring_setup", "io_uring_enter", "io_uring_register", "open_by_handle_at", "kexec_load", "reboot",
    "init_module", "finit_module", "delete_module", "process_vm_readv", "process_vm_writev", "ptrace", "kcmp", "clone3",
)  # fmt: skip
"""Much of what a container's default profile refuses."""
MACHINES = {
    "no_landlock": dict.fromkeys(LANDLOCK, errno.ENOSYS),
    "landlock_off": dict.fromkeys(LANDLOCK, errno.EOPNOTSUPP),
    "no_user_namespaces": {"unshare": errno.EPERM},
    "no_mounts": {"mount": errno.EACCES},  # a user namespace, but no rights in it, as on Ubuntu 24.04
    "old_kernel": dict.fromkeys((*LANDLOCK, "open_tree", "mount_setattr"), errno.ENOSYS),
    "container": dict.fromkeys(CONTAINER, errno.EPERM) | {"clone3": errno.ENOSYS},
    "no_seccomp": dict.fromkeys(("seccomp", *LANDLOCK), errno.ENOSYS),
}


def main() -> None:
    table, _ = here()
    lockdown.no_new_privileges()
    lockdown.filter_calls(refusing(table, MACHINES[sys.argv[1]]))
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])


if __name__ == "__main__":
    main()
