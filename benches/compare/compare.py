"""CPU time beside the peers, in one run, as ratios: `python3 benches/compare/compare.py --model FILE.gguf [--data DIR]`.

Standard library alone: it makes an environment of its own under target/compare, with the pinned peers and the wheel of this tree. Each
piece of work runs in a process of its own, ours and the peer's in turns; the figure is the median of the CPU seconds of all threads.
DIR has the layout of Natural Instructions; without it the work on real records is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDER = ROOT / "target/compare"
ENVIRONMENT = FOLDER / "environment"
PYTHON = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
WORKS = {
    "features_equal": "features of 8 records of 129 tokens",
    "features_real": "features of 64 real records",
    "step": "LoRA step, 1 x 129 tokens",
    "losses": "loss of 32 records of 129 tokens",
    "generate": "generation, 8 x 32 tokens after 97",
    "features_equal_int8": "features of 8 records of 129 tokens, int8",
    "features_real_int8": "features of 64 real records, int8",
    "losses_int8": "loss of 32 records of 129 tokens, int8",
    "generate_int8": "generation, 8 x 32 tokens after 97, int8",
    "generate_llama": "the same beside llama.cpp, int8 on both sides",
    "kmeans_1000_20": "k-means, 1,000 x 384, k = 20",
    "kmeans_1000_200": "k-means, 1,000 x 384, k = 200",
    "kmeans_20000_20": "k-means, 20,000 x 384, k = 20",
    "kmeans_20000_200": "k-means, 20,000 x 384, k = 200",
    "tsne_60": "t-SNE, 60 x 384",
    "tsne_100": "t-SNE, 100 x 384",
    "tsne_200": "t-SNE, 200 x 384",
    "tsne_300": "t-SNE, 300 x 384",
}
#: What is built from its source takes minutes and needs a C++ compiler: only where it is asked for.
LLAMA = "generate_llama"
MATRICES = """
import numpy as np, sys
for n, k in ((1000, 20), (1000, 200), (20000, 20), (20000, 200)):
    rng = np.random.default_rng(n + k)
    centres = rng.normal(size=(64, 384)) * 0.5
    x = (centres[rng.integers(0, 64, n)] + rng.normal(size=(n, 384))).astype(np.float32)
    np.savez(f"{sys.argv[1]}/kmeans_{n}_{k}.npz", x=x, k=k)
for n in (60, 100, 200, 300):
    for seed in range(6):
        rng = np.random.default_rng(1000 * n + seed)
        x = rng.normal(size=(12, 384))[rng.integers(0, 12, n)] * 0.6 + rng.normal(size=(n, 384))
        np.save(f"{sys.argv[1]}/tsne_{n}_{seed}.npy", x.astype(np.float32))
"""


def run(*command: object, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True, **options)
    return done.stdout


def prepare(wheel: Path | None, llama: bool) -> None:
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not PYTHON.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    run(*pip, "-r", HERE / "requirements.txt", "maturin>=1.9,<2")
    if llama:
        run(*pip, "-r", HERE / "requirements-llama.txt")
    if wheel is None:
        wheels = FOLDER / "wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        run(PYTHON, "-m", "maturin", "build", "--release", "--locked", "--out", wheels, cwd=ROOT / "fedhds-py")
        [wheel] = wheels.glob("fedhds-*.whl")
    run(*pip, "--force-reinstall", "--no-deps", wheel)


def measured(side: str, work: str, repeats: int, threads: int) -> dict[str, float]:
    environment = {**os.environ}
    for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(threads)
    output = run(PYTHON, HERE / f"{side}.py", work, FOLDER, repeats, threads, env=environment, stderr=subprocess.DEVNULL)
    return json.loads(output.strip().splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file of the Llama family")
    parser.add_argument("--data", type=Path, help="real records, in the layout of Natural Instructions")
    parser.add_argument("--wheel", type=Path, help="a wheel of fedhds in place of one of this tree")
    default = ",".join(work for work in WORKS if work != LLAMA)
    parser.add_argument("--works", default=default, help=f"some of the work, comma-separated; {LLAMA} builds llama.cpp first")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, comma-separated")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    works = arguments.works.split(",")
    if wrong := [work for work in works if work not in WORKS]:
        parser.error(f"works: expected some of {', '.join(WORKS)}, got {', '.join(wrong)}")
    prepare(arguments.wheel, LLAMA in works)
    shutil.copyfile(arguments.model, FOLDER / "model.gguf")
    data = [arguments.data] if arguments.data else []
    run(PYTHON, HERE / "ours.py", "prepare", FOLDER, 0, *data)
    run(PYTHON, "-c", MATRICES, FOLDER)
    works = [work for work in works if arguments.data or not work.startswith("features_real")]
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; {(HERE / 'requirements.txt').read_text().split(chr(10), 1)[1]}")
    print("| work | threads | ours, CPU s | peer, CPU s | ratio | seconds, ratio | peak MB, ours / peer | note |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |")
    for work in works:
        for threads in map(int, arguments.threads.split(",")):
            ours, peer = (measured(side, work, arguments.repeats, threads) for side in ("ours", "peers"))
            notes = [f"{name} {ours[name] / peer[name] - 1:+.2%}" for name in ("inertia", "KL") if name in ours]
            print(
                f"| {WORKS[work]} | {threads} | {ours['cpu']:.3f} | {peer['cpu']:.3f} | {ours['cpu'] / peer['cpu']:.2f} "
                f"| {ours['wall'] / peer['wall']:.2f} | {ours['peak']:.0f} / {peer['peak']:.0f} | {', '.join(notes)} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
