"""The tests of the Python package: `prepare` makes an environment for them, `test` runs them in it.

Standard library alone. The native module is the one that `cargo build --workspace` made, so that nothing is compiled twice.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent / ".venv"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
READY = ENVIRONMENT / "fedhds-tests"
NEEDS = ["numpy>=1.26", "pytest>=8", "scikit-learn>=1.6", "mypy>=1.11"]
LIBRARY = {"win32": "_native.dll", "darwin": "lib_native.dylib"}.get(sys.platform, "lib_native.so")


def prepare():
    """Makes the environment where there is none."""
    if READY.exists() and READY.read_text() == "\n".join(NEEDS):
        return
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    subprocess.run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *NEEDS], check=True)
    READY.write_text("\n".join(NEEDS))


def test(arguments):
    """Types, tests and the examples of the documentation."""
    if not READY.exists():
        print("skipped: the tests of the Python package, as there is no environment for them (see above)")
        return
    metadata = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    metadata = subprocess.run(metadata, cwd=HERE, check=True, capture_output=True, text=True).stdout
    target = Path(json.loads(metadata)["target_directory"])
    suffix = ".pyd" if os.name == "nt" else ".abi3.so"
    shutil.copyfile(target / "debug" / LIBRARY, HERE / "python/fedhds" / f"_native{suffix}")
    environment = {**os.environ, "PYTHONPATH": str(HERE / "python")}
    for command in (["mypy", "--strict", "python/fedhds"], ["pytest", "-q", *arguments]):
        subprocess.run([PYTHON, "-m", *command], cwd=HERE, env=environment, check=True)


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["prepare"]:
            prepare()
        elif sys.argv[1:2] == ["test"]:
            test(sys.argv[2:])
        else:
            sys.exit("usage: check.py prepare | check.py test [options of pytest]")
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd[:4]))} ... ended with {error.returncode}")
