"""What the code in a hostile checkpoint does to exhaust the machine or to stay on it; travels with `deeds`, so standard library only."""

import ctypes
import mmap
import os
import signal
import threading
import time
from pathlib import Path

JOB = Path("/job")


def daemons():
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            if os.fork() == 0:
                time.sleep(600)
            os._exit(0)
    raise RuntimeError("the daemons stay")


def fork_bomb():
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.05)


def thread_bomb():
    while True:
        try:
            threading.Thread(target=time.sleep, args=(600,)).start()
        except RuntimeError:
            time.sleep(600)


def memory():
    hold = []
    while True:
        hold.append(bytearray(b"\1" * (16 << 20)))


def shared_memory():
    hold = []
    while True:
        hold.append(mmap.mmap(-1, 16 << 20))
        hold[-1].write(b"\1" * (16 << 20))


def memory_in_children():
    for _ in range(12):
        if os.fork() == 0:
            block = bytearray(b"\1" * (200 << 20))
            time.sleep(600)
            del block
    time.sleep(600)


def page_tables():
    """Touch one page of every 2 MiB of address space: the tables are the memory."""
    hold = []
    while True:
        block = mmap.mmap(-1, 8 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, prot=mmap.PROT_READ)
        hold.append(block)
        for at in range(0, 8 << 30, 2 << 20):
            block[at]


def shm_files():
    fill("/dev/shm")


def disk():
    fill("/job/output")


def fill(folder):
    number = 0
    while True:
        Path(f"{folder}/{number}").write_bytes(b"\1" * (8 << 20))
        number += 1


def unlinked():
    hold = []
    while True:
        hold.append((JOB / "tmp" / "gone").open("wb"))
        (JOB / "tmp" / "gone").unlink()
        hold[-1].write(b"\1" * (8 << 20))


def one_file():
    with (JOB / "output" / "model.onnx").open("wb") as file:
        while True:
            file.write(b"\1" * (4 << 20))


def inodes():
    number = 0
    while True:
        folder = JOB / "tmp" / str(number // 1000)
        folder.mkdir(exist_ok=True)
        os.close(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY))
        number += 1


def deep_folders():
    os.chdir("/job/tmp")
    while True:
        try:
            Path("d").mkdir()
            os.chdir("d")
        except OSError:
            time.sleep(600)


def endless():
    while True:
        pass


def stubborn_sleep():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


def stop_itself():
    os.kill(os.getpid(), signal.SIGSTOP)


def flood_stdout():
    while True:
        for descriptor in range(1, 64):
            try:
                os.write(descriptor, b"A" * 65536 + b"\n")
            except OSError:
                continue


def flood_stderr():
    while True:
        os.write(2, b"B" * 65536)


def open_files():
    hold = []
    while True:
        hold.append(os.open("/dev/null", os.O_RDONLY))


def crash():
    ctypes.string_at(0)
