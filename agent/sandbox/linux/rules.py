"""Which system calls a confined worker may make, by name. Pure data; :mod:`.filter` turns it into a program.

Three answers. *Allowed*: what computing on memory one already has needs. *Refused softly* (an error number): what honest code
may try and survives without. *Killed*: what only an attack needs. Everything not named here is answered ``ENOSYS``, as an older
kernel would, because libraries probe for new calls and must survive the probe.
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED = _names("""
    read write readv writev pread64 pwrite64 close close_range fstat lseek dup dup2 dup3 pipe pipe2 eventfd2
    poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait
    munmap mprotect mremap brk madvise mincore msync munlock membarrier
    rt_sigaction rt_sigprocmask rt_sigreturn rt_sigpending rt_sigsuspend rt_sigtimedwait sigaltstack restart_syscall pause
    nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday time times alarm getitimer setitimer
    getpid gettid getppid getuid geteuid getgid getegid getresuid getresgid getgroups getpgrp getpgid getsid getcpu
    getrusage sysinfo uname getrandom sched_yield sched_getaffinity sched_getparam sched_getscheduler
    sched_get_priority_max sched_get_priority_min
    futex futex_wait futex_wake futex_requeue set_robust_list get_robust_list rseq set_tid_address arch_prctl
    exit exit_group
""")
"""No path, no socket, no other process. Calls whose arguments decide are in :mod:`.filter`: ``mmap``, ``clone``, ``fcntl`` …"""

READING = _names("""
    stat lstat newfstatat statx access faccessat faccessat2 readlink readlinkat getdents getdents64 statfs fstatfs getcwd
""")
"""Calls with a path that change nothing. ``sealed`` refuses them, ``standard`` leaves them to Landlock. ``open`` and ``openat``
belong here too, when their flags only read."""

NO_ACCESS = _names("""
    creat mkdir mkdirat rename renameat renameat2 unlink unlinkat rmdir truncate ftruncate fallocate
    symlink symlinkat link linkat chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat
    utime utimes utimensat futimesat mknod mknodat chdir fchdir
    setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr setxattrat removexattrat
    getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr getxattrat listxattrat
    sync syncfs fsync fdatasync fadvise64 sync_file_range flock umask copy_file_range sendfile splice tee vmsplice
    inotify_init inotify_init1 inotify_add_watch
""")
"""Answered ``EACCES``, which Python turns into ``PermissionError``: writing, renaming, and what changes a file in any way."""

NO_PERMISSION = _names("""
    socket socketpair connect bind listen accept accept4 sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg
    getsockname getpeername setsockopt getsockopt shutdown
    fork vfork execve execveat tkill setsid setpgid wait4 waitid pidfd_open rt_sigqueueinfo rt_tgsigqueueinfo
    memfd_create memfd_secret shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl
    mq_open mq_unlink mlock mlockall mlock2 mbind set_mempolicy set_mempolicy_home_node get_mempolicy migrate_pages move_pages
    sched_setaffinity sched_setparam sched_setscheduler sched_setattr setpriority getpriority ioprio_set setrlimit
    setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset capget personality chroot
    sethostname setdomainname clock_settime settimeofday adjtimex clock_adjtime acct quotactl quotactl_fd syslog vhangup
    iopl ioperm signalfd signalfd4 timerfd_create timer_create
    landlock_create_ruleset landlock_add_rule landlock_restrict_self seccomp lsm_set_self_attr
""")
"""Answered ``EPERM``: sockets, processes, priorities, identity, memory that outlives or escapes the limits."""

KILLED = _names("""
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease pidfd_getfd pidfd_send_signal kcmp
    mount umount2 pivot_root move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr setns unshare
    bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    io_setup io_submit io_destroy io_getevents io_pgetevents io_cancel
    add_key request_key keyctl init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff
    open_by_handle_at name_to_handle_at nfsservctl fanotify_init fanotify_mark lookup_dcookie modify_ldt uselib ustat sysfs
    remap_file_pages statmount listmount
""")
"""The process ends: no library calls these, and a second try should not be had."""

ARGUMENTS = _names("open openat openat2 mmap clone clone3 kill tgkill prctl fcntl ioctl prlimit64 getrlimit")
"""Calls that :mod:`.filter` decides by their arguments."""
