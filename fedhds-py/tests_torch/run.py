"""The tests that need PyTorch, transformers and PEFT (5 GB), by themselves: see README.md.

python fedhds-py/tests_torch/run.py [options of pytest]
python fedhds-py/tests_torch/run.py fixtures     writes tests/fixtures/torch again
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDS = ["torch", "transformers", "peft", "safetensors", "tokenizers", "numpy", "pytest"]


def main() -> int:
    """Says what it runs on, and runs."""
    sys.path[:0] = [str(HERE), str(HERE.parent / "python")]
    lacking = []
    for name in NEEDS:
        try:
            print(f"{name} {version(name)}", end="  ")
        except PackageNotFoundError:
            lacking.append(name)
    print(flush=True)
    if lacking:
        print(f"this needs: pip install {' '.join(lacking)}", file=sys.stderr)
        return 1
    # Small models come from this folder alone; nothing is fetched.
    os.environ["HF_HUB_OFFLINE"] = "1"
    if sys.argv[1:] == ["fixtures"]:
        import make_fixtures

        make_fixtures.write(HERE.parent / "tests" / "fixtures" / "torch")
        return 0
    import pytest

    own = ["--rootdir", str(HERE), "-c", os.devnull, "-p", "no:cacheprovider", "-q"]
    return int(pytest.main([*own, str(HERE), *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
