"""Run a program on a machine whose kernel has no IPv6: `without_ipv6.py PROGRAM ARGUMENTS…`.

A seccomp filter gives each try to make an IPv6 socket the error that a kernel started with
`ipv6.disable=1` gives: EAFNOSUPPORT (https://docs.kernel.org/userspace-api/seccomp_filter.html).
"""

import ctypes
import errno
import os
import platform
import socket
import struct
import sys

_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
_SET_SECCOMP = 22
_FILTER = 2  # linux/seccomp.h
_ALLOW = 0x7FFF0000
_ERROR = 0x00050000
_SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]  # the number of the system call

_PROGRAM = [
    (0x20, 0, 0, 0),  # the call's number
    (0x15, 0, 3, _SOCKET),
    (0x20, 0, 0, 16),  # its first argument: the family
    (0x15, 0, 1, socket.AF_INET6),
    (0x06, 0, 0, _ERROR | errno.EAFNOSUPPORT),
    (0x06, 0, 0, _ALLOW),
]


def main() -> None:
    """Take IPv6 away, then become the program."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _PROGRAM))
    described = struct.pack("HP", len(_PROGRAM), ctypes.addressof(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for arguments in (
        (_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_SET_SECCOMP, _FILTER, ctypes.c_char_p(described), 0, 0),
    ):
        if prctl(*arguments):
            raise OSError(ctypes.get_errno(), "no seccomp filter can be set here")
    os.execv(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
