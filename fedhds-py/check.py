"""Builds and tests the Python package: environment, wheel, types, tests, and the quick start of README.md in an empty environment.

Standard library alone. `check.py` does all of it; `check.py test [options of pytest]` tests the wheel that was built last.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
ENVIRONMENT = ROOT / "target/python"
WHEELS = ROOT / "target/wheels"
READY = ENVIRONMENT / "requirements.txt"
NEEDS = HERE / "requirements-test.txt"


def python(environment):
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def run(*command, **options):
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, **options)


def create(environment):
    """An empty virtual environment; Debian has what that takes in a package of its own."""
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        if not shutil.which("apt-get"):
            raise
        run("apt-get", "update")
        run("apt-get", "install", "--yes", f"python3.{sys.version_info.minor}-venv")
    venv.create(environment, with_pip=True, clear=True)


def prepare():
    """Makes the environment where there is none, or another one."""
    if READY.exists() and READY.read_text() == NEEDS.read_text():
        return
    create(ENVIRONMENT)
    run(python(ENVIRONMENT), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", NEEDS)
    READY.write_text(NEEDS.read_text())


def build():
    """The wheel, as it would be published, into the environment."""
    shutil.rmtree(WHEELS, ignore_errors=True)
    run(python(ENVIRONMENT), "-m", "maturin", "build", "--release", "--locked", "--out", WHEELS, cwd=HERE)
    [wheel] = WHEELS.glob("fedhds-*.whl")
    pip = [python(ENVIRONMENT), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run(*pip, "--force-reinstall", "--no-deps", wheel)


def test(arguments):
    """Types, stubs, tests and the examples of the documentation, on the installed wheel."""
    here = {"cwd": HERE, "env": {**os.environ, "PYTHONPATH": "", "MYPYPATH": ""}}
    run(python(ENVIRONMENT), "-m", "mypy", "--strict", "python/fedhds", **here)
    with tempfile.TemporaryDirectory() as elsewhere:
        # Away from the sources, so that what is checked is what was installed.
        run(python(ENVIRONMENT), "-m", "mypy.stubtest", "fedhds._native", cwd=elsewhere, env=here["env"])
    modules = ["--doctest-modules", "--doctest-ignore-import-errors", "--pyargs", "fedhds"]
    run(python(ENVIRONMENT), "-m", "pytest", "-q", *modules, HERE / "tests", *arguments, **here)


def quickstart():
    """The commands of the README's quick start, as they stand there, in an empty environment."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    [block] = re.findall(r"<!-- quick start -->\n```sh\n(.*?)```", text, re.DOTALL)
    with tempfile.TemporaryDirectory() as folder:
        # The reader's environment is in the clone; ours leaves the clone as it is.
        script = block.replace(".venv", f"{folder}/venv").replace("runs/", f"{folder}/runs/")
        run("bash", "-euo", "pipefail", "-c", script, cwd=ROOT)


if __name__ == "__main__":
    steps = {"prepare": prepare, "build": build, "quickstart": quickstart}
    try:
        match sys.argv[1:]:
            case []:
                prepare(), build(), test([]), quickstart()
            case ["test", *arguments]:
                test(arguments)
            case [step] if step in steps:
                steps[step]()
            case _:
                sys.exit("usage: check.py [prepare | build | test [options of pytest] | quickstart]")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd[:4]))} ... ended with {error.returncode}")
