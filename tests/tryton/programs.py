"""What the test starts around Gatehouse: its programs, a broker, and a line that can be cut."""
import hashlib
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request
import base64
import itertools

from tryton import OPENER


class Trouble(Exception):
    """The test cannot go on; the text says why."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, look, seconds):
    """Waits until `look()` gives something, and gives that."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise Trouble(f"{what}: not within {seconds} s")
        time.sleep(0.2)


def ask(url, body=None, **headers):
    """JSON from `url`; a body makes it a POST."""
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    with OPENER.open(request, timeout=20) as answer:
        text = answer.read()
    return json.loads(text) if text.strip().startswith((b"{", b"[")) else text.decode()


def rows(database, query, *values):
    """Rows of a store that its program is using meanwhile."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query, values)]
    finally:
        connection.close()


class Programs:
    """Everything that was started; `stop` ends it in the reverse order, and nothing else."""

    def __init__(self, directory):
        self.directory = directory
        self.running = []

    def start(self, name, *command):
        with open(self.directory / f"{name}.log", "ab") as log:
            child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                                     stderr=log, cwd=self.directory)
        self.running.append((name, child))
        return child

    def ended(self):
        """The first program that ended by itself, with the end of what it said."""
        for name, child in self.running:
            if child.poll() is not None:
                said = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-15:]
                return f"{name} ended with {child.returncode}:\n" + "\n".join(said)
        return None

    def stop(self):
        for _, child in reversed(self.running):
            if child.poll() is None:
                child.terminate()
        for _, child in reversed(self.running):
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.running = []


class Line:
    """The line between depot and hub: a TCP relay that can be cut and restored."""

    def __init__(self, target_port):
        self.target = ("127.0.0.1", target_port)
        self.is_up = True
        self.open = set()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        with self.lock:
            self.is_up = False
            for end in self.open:
                # Shutting down wakes the thread that reads; closing alone would not.
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def restore(self):
        with self.lock:
            self.is_up = True

    def _accept(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near):
        try:
            far = socket.create_connection(self.target, timeout=10)
            far.settimeout(None)
        except OSError:
            near.close()
            return
        with self.lock:
            if not self.is_up:
                near.close()
                far.close()
                return
            self.open |= {near, far}
        threading.Thread(target=self._relay, args=(far, near), daemon=True).start()
        self._relay(near, far)

    def _relay(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        with self.lock:
            # The other direction closes its source, so each socket is closed once.
            self.open.discard(source)
        source.close()


class Sensors:
    """The depot's own broker and what its sensors say, through the real mosquitto_pub."""

    MAP = """
[[topics]]
filter = "depot/door/+"
decoder = "json"
kind = "door"
subject = { segment = 3 }
id = "/id"
time = "/at"
time_unit = "ms"
value = "/open"

[[topics]]
filter = "depot/bay/+"
decoder = "json"
kind = "occupancy"
subject = { segment = 3 }
id = "/id"
time = "/at"
time_unit = "ms"
value = "/occupied"
vehicle = "/vehicle"

[[topics]]
filter = "depot/scan"
decoder = "json"
kind = "scan"
subject = "/order"
id = "/id"
time = "/at"
time_unit = "ms"
line = "/line"
quantity = "/quantity"
step = "/step"

[[topics]]
filter = "depot/papers"
decoder = "json"
kind = "documents"
subject = "/order"
id = "/id"
time = "/at"
time_unit = "ms"
value = "/complete"

[[topics]]
filter = "depot/seal/+"
decoder = "json"
kind = "seal"
subject = { segment = 3 }
id = "/id"
time = "/at"
time_unit = "ms"
value = "/intact"

[[topics]]
filter = "owntracks/+/+"
decoder = "owntracks"
"""

    def __init__(self, programs, directory):
        mosquitto = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
        self.port = free_port()
        self.ids = itertools.count(1)
        configuration = directory / "mosquitto.conf"
        # `user root` holds only when root starts it: it would otherwise be unable to read our folder.
        configuration.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\nmax_queued_messages 0\n")
        programs.start("mosquitto", mosquitto, "-c", configuration)
        until("mosquitto answers", self._answers, 10)

    def _answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def _publish(self, topic, **message):
        subprocess.run(["mosquitto_pub", "-h", "127.0.0.1", "-p", str(self.port), "-q", "1", "-t", topic,
                        "-m", json.dumps(message)], check=True, timeout=20)

    def say(self, topic, **message):
        self._publish(topic, id=f"r{next(self.ids)}", at=int(time.time() * 1000), **message)

    def bay(self, door, vehicle):
        self.say(f"depot/bay/{door}", occupied=vehicle is not None, vehicle=vehicle)

    def door(self, door, is_open):
        self.say(f"depot/door/{door}", open=is_open)

    def scan(self, step, order, line, quantity):
        self.say("depot/scan", order=order, line=line, quantity=quantity, step=step)

    def papers(self, order):
        self.say("depot/papers", order=order, complete=True)

    def seal(self, vehicle):
        self.say(f"depot/seal/{vehicle}", intact=True)

    def fix(self, vehicle, lat, lon, at):
        self._publish(f"owntracks/unit/{vehicle}", _type="location", lat=lat, lon=lon, tst=int(at), acc=8)


class Hub:
    """The hub's program, with Tryton as its ERP."""

    TOKENS = {"wms": "wms-token-of-this-test", "tms": "tms-token-of-this-test"}

    def __init__(self, programs, directory, program, server):
        self.programs, self.program, self.port = programs, program, free_port()
        self.database = directory / "hub.db"
        self.configuration = directory / "hub.toml"
        self.place = ["--database", f"sqlite:{self.database}", "--config", self.configuration]
        self.events = itertools.count(1)
        (directory / "tryton-password").write_text(server["users"]["hub"])
        tokens = "".join(
            f'[[tokens]]\nname = "{name}"\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\n'
            f'scopes = ["events:{name}"]\n' for name, token in self.TOKENS.items())
        self.configuration.write_text(f"""
[tls]
plain_on_loopback = true

[devices]
without_certificate = true

[erp]
kind = "tryton"
url = "{server['url']}"
database = "{server['database']}"
user = "hub"
password_file = "tryton-password"
poll_ms = 1000

{tokens}""")
        self.public_key = self.run("public-key", *self.place)

    def run(self, *arguments):
        done = subprocess.run([str(self.program), *map(str, arguments)], capture_output=True, text=True, timeout=60)
        if done.returncode:
            raise Trouble(f"gatehouse-hub {arguments[0]}: {done.stderr.strip()}")
        return done.stdout.strip()

    def start(self):
        self.programs.start("hub", self.program, "serve", "--listen", f"127.0.0.1:{self.port}", *self.place)
        until("hub answers", lambda: answers(f"http://127.0.0.1:{self.port}/healthz", self.programs), 30)

    def event(self, source, kind, order, **data):
        """A CloudEvent as a WMS or TMS posts it."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = {"specversion": "1.0", "id": f"e{next(self.events)}", "source": f"/{source}/test",
                "type": f"io.gatehouse.{source}.{kind}.v1", "subject": order, "time": now,
                "datacontenttype": "application/json", "data": {"order": order, "at": now, **data}}
        ask(f"http://127.0.0.1:{self.port}/v1/events", body, **{
            "Content-Type": "application/cloudevents+json", "Authorization": f"Bearer {self.TOKENS[source]}"})

    def order(self, sale_number):
        """The hub's name of a sale's order, once it has it."""
        return next((row for row in self.views() if row["order"]["id"] == sale_number), None)

    def recon(self, order):
        return rows(self.database, "SELECT * FROM recon_items WHERE order_id = ?", order)

    def postings(self):
        return rows(self.database, "SELECT key, order_id, kind, state FROM postings")


class Gateway:
    """The depot's agent."""

    YARD = (30.27, -97.74)
    DOORS = ["1", "2"]

    def __init__(self, programs, directory, program, sensors, line, hub):
        self.programs, self.program, self.port = programs, program, free_port()
        self.database = directory / "agent.db"
        self.configuration = directory / "agent.toml"
        lat, lon = self.YARD
        # Cut off after three seconds of silence, so that the test need not wait for the usual minute.
        (directory / "bundle.toml").write_text("hub_silence_max_ms = 3000\n")
        self.configuration.write_text(f"""
[device]
id = "D1-gateway"
kind = "gateway"
site = "D1"
key_file = "device.key"
[store]
path = "agent.db"
[mqtt]
host = "127.0.0.1"
port = {sensors.port}
[site]
geofence = {{ lat = {lat}, lon = {lon}, radius_m = 300 }}
[hub]
url = "http://127.0.0.1:{line.port}"
public_key = "{hub.public_key}"
[page]
listen = "127.0.0.1:{self.port}"
[bundle]
path = "bundle.toml"
{Sensors.MAP}""")
        done = subprocess.run([str(program), "public-key", "--config", str(self.configuration)], capture_output=True,
                              text=True, timeout=60)
        if done.returncode:
            raise Trouble(f"gatehouse-agent public-key: {done.stderr.strip()}")
        hub.run("devices", "add", "--database", f"sqlite:{hub.database}", "--id", "D1-gateway", "--kind", "gateway",
                "--site", "D1", "--public-key", done.stdout.strip())

    def start(self):
        self.programs.start("agent", self.program, "run", "--config", self.configuration)
        until("agent's page answers", lambda: answers(f"http://127.0.0.1:{self.port}/api/status", self.programs), 30)

    def dispatches(self):
        """Every dispatch as the depot's own store has it."""
        found = rows(self.database, "SELECT document, view FROM documents WHERE kind = 'dispatch'")
        return [{"document": row["document"], **json.loads(row["view"])} for row in found]

    def dispatch(self, order):
        return next((d for d in self.dispatches() if d["order"] == order), None)

    def has_lease(self):
        return rows(self.database, "SELECT id FROM leases WHERE state = 'open'")


def answers(url, programs):
    ended = programs.ended()
    if ended:
        raise Trouble(ended)
    try:
        ask(url)
        return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
