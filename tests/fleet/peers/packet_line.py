"""A line of packets between this network namespace and another: lossy, slow, or deaf in one direction.

    packet_line.py NAMESPACE OURS THEIRS      two addresses of one network, such as 10.77.1.1 and 10.77.1.2

Makes the namespace and an interface in each, and carries what goes between them. On standard input it takes lines of
JSON: {"loss": 0.05, "delay_ms": 300, "kbit": 40, "up": true, "down": true}; "up" is from THEIRS to OURS. When its
input ends, everything is taken down. Needs root. The kernel's own tools for this are often not built in.
"""
import collections
import fcntl
import json
import os
import random
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
WAITING_MAX = 64  # packets that wait for a slow line; what comes beyond is lost, as in a modem


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class Way:
    """One direction."""

    def __init__(self, name, source, target):
        self.name, self.source, self.target = name, source, target
        self.waiting, self.free_at, self.lost = collections.deque(), 0.0, 0

    def take(self, weather, now):
        while True:
            try:
                packet = os.read(self.source, 4096)
            except BlockingIOError:
                return
            if not weather[self.name] or random.random() < weather["loss"] or len(self.waiting) >= WAITING_MAX:
                self.lost += 1
                continue
            lasts = len(packet) * 8 / (weather["kbit"] * 1000) if weather["kbit"] else 0
            self.free_at = max(now, self.free_at) + lasts
            self.waiting.append((self.free_at + weather["delay_ms"] / 1000, packet))

    def give(self, now):
        while self.waiting and self.waiting[0][0] <= now:
            try:
                os.write(self.target, self.waiting.popleft()[1])
            except OSError:
                self.lost += 1  # the interface is not up: so are packets lost


def main():
    namespace, ours, theirs = sys.argv[1:]
    names = [f"gha{os.getpid()}"[:15], f"ghb{os.getpid()}"[:15]]
    near, far = tun(names[0]), tun(names[1])
    ip("netns", "add", namespace)
    try:
        ip("link", "set", names[1], "netns", namespace)
        ip("addr", "add", f"{ours}/30", "dev", names[0])
        ip("link", "set", names[0], "up")
        ip("-n", namespace, "addr", "add", f"{theirs}/30", "dev", names[1])
        ip("-n", namespace, "link", "set", names[1], "up")
        ip("-n", namespace, "link", "set", "lo", "up")
        print("up", flush=True)
        weather = {"loss": 0.0, "delay_ms": 0, "kbit": 0, "up": False, "down": False}
        ways = [Way("down", near, far), Way("up", far, near)]
        heard = b""
        while True:
            now = time.monotonic()
            due = min((way.waiting[0][0] for way in ways if way.waiting), default=now + 1)
            readable, _, _ = select.select([near, far, 0], [], [], max(0, min(1, due - now)))
            now = time.monotonic()
            if 0 in readable:
                read = os.read(0, 4096)
                if not read:
                    break
                heard += read
                *lines, heard = heard.split(b"\n")
                for line in lines:
                    weather.update(json.loads(line))
                    print("lost", sum(way.lost for way in ways), flush=True)
            for way in ways:
                way.take(weather, now)
                way.give(now)
    finally:
        ip("netns", "del", namespace)


main()
