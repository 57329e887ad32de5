"""Builds and tests the C ABI: symbols, headers, C and C++ tests (plain, sanitizers, Valgrind), CMake package, examples.

Standard library alone. `check.py` does all of it, `check.py STEP...` the named steps; `check.py --list` names them.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# The development profile, of the whole workspace: it checks for overflow too, and other checks have built it already.
LIBRARY = ROOT / "target/debug"
BUILDS = ROOT / "target/ffi"
# As a device gets it: without models, small before fast.
DEVICE = ROOT / "target/device"
# Bytes of selection alone, which an app can afford.
MOST = 3_500_000
MODEL = ROOT / "examples/models/embedded"
TESTS = HERE / "tests/c"
SELECT = ROOT / "examples/select-c"

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
# What worker threads hold, which live to the end, counts as possibly lost.
LOST = ["--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"]
VALGRIND = ["valgrind", "--quiet", "--error-exitcode=9", *LOST]

# Programs, and Debian's packages of them.
NEEDS = {"cmake": "cmake", "cc": "gcc", "c++": "g++", "nm": "binutils", "valgrind": "valgrind", "make": "make"}


class Failed(Exception):
    """A step that did not end well."""


def run(*command: object, quiet: bool = True, **options: Any) -> str:
    """What a command prints; with its output it fails where it ends with another status than 0."""
    texts = [str(part) for part in command]
    done = subprocess.run(texts, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    printed = str(done.stdout)
    if done.returncode != 0:
        raise Failed(f"{' '.join(texts)}\n{printed}ended with {done.returncode}")
    if not quiet:
        print(printed, end="", flush=True)
    return printed


def prepare() -> None:
    """Installs what is missing, where that can be done."""
    missing = sorted({package for program, package in NEEDS.items() if not shutil.which(program)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise Failed(f"expected {', '.join(missing)} to be installed")
    run("apt-get", "update")
    run("apt-get", "install", "--yes", "--no-install-recommends", *missing)


def library() -> None:
    """The library itself, shared and static."""
    run("cargo", "build", "--locked", "--workspace", cwd=ROOT)


def check_symbols(library: Path, *, models: bool) -> None:
    """That a shared library exports what the header declares, and nothing else."""
    lines = run("nm", "--dynamic", "--defined-only", "--format=posix", library).splitlines()
    exported = {line.split()[0].split("@")[0] for line in lines}
    header = (HERE / "include/fedhds.h").read_text(encoding="utf-8")
    code = re.sub(r"//.*", "", header)
    if not models:
        code = re.sub(r"#if defined\(FEDHDS_MODELS\)\n.*?#endif", "", code, flags=re.DOTALL)
    declared = set(re.findall(r"\b(fedhds_\w+)\s*\(", code)) - set(re.findall(r"\(\*(fedhds_\w+)\)", code))
    if strange := sorted(name for name in exported if not name.startswith("fedhds_")):
        raise Failed(f"expected symbols fedhds_* alone, got {', '.join(strange[:10])}")
    if exported != declared:
        raise Failed(f"expected the symbols that fedhds.h declares, they differ by {sorted(exported ^ declared)}")


def symbols() -> None:
    """The shared library exports what the header declares, and nothing else."""
    check_symbols(LIBRARY / "libfedhds.so", models=True)


def headers() -> None:
    """Both headers compile alone and without a warning, with what compilers there are."""
    with tempfile.TemporaryDirectory() as name:
        c, cpp = Path(name, "alone.c"), Path(name, "alone.cpp")
        c.write_text("#include <fedhds.h>\nint main(void) { return fedhds_abi_version() == 0; }\n")
        cpp.write_text("#include <fedhds.hpp>\nint main() { return fedhds::version().empty() ? 1 : 0; }\n")
        include = f"-I{HERE / 'include'}"
        for compiler in filter(shutil.which, ["gcc", "clang"]):
            for more in ([], ["-DFEDHDS_SELECTION_ONLY"]):
                for standard in ("c99", "c17"):
                    run(compiler, f"-std={standard}", *WARNINGS, *more, include, "-fsyntax-only", c)
        for compiler in filter(shutil.which, ["g++", "clang++"]):
            for more in ([], ["-DFEDHDS_SELECTION_ONLY"], ["-fno-exceptions", "-fno-rtti"], ["-std=c++20"]):
                run(compiler, "-std=c++17", *WARNINGS, *more, include, "-fsyntax-only", cpp)


# What the code of README.md is in the middle of.
AROUND = {
    "c": (
        "#include <fedhds.h>\n#include <stdio.h>\nvoid app(float *values, size_t rows, size_t columns, uint8_t *start,"
        " size_t length, uint32_t number, uint64_t seed);\nvoid app(float *values, size_t rows, size_t columns,"
        " uint8_t *start, size_t length, uint32_t number, uint64_t seed) {\n",
        "(void)values, (void)rows, (void)columns, (void)start, (void)length, (void)number, (void)seed; }\n",
    ),
    "cpp": (
        "#include <fedhds.hpp>\nfloat loss_of(std::uint32_t response, std::uint32_t prompt);\n"
        "void outer(fedhds::Method& method, const fedhds::Records& records);\n"
        "void outer(fedhds::Method& method, const fedhds::Records& records) {\n"
        "[[maybe_unused]] const auto app = [&](float* values, std::size_t rows, std::size_t columns,"
        " fedhds::BytesView start, fedhds::BytesView order, std::uint32_t number, std::uint64_t seed) {\n",
        "(void)values, (void)rows, (void)columns, (void)start, (void)order, (void)number, (void)seed; };\n"
        "(void)method, (void)records; }\n",
    ),
}


def readme() -> None:
    """The C and C++ code of README.md compiles."""
    text = (HERE / "README.md").read_text(encoding="utf-8")
    for language, compiler, standard in (("c", "cc", "c99"), ("cpp", "c++", "c++17")):
        blocks = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
        if len(blocks) < 2:
            raise Failed(f"expected code in {language} in README.md, got {len(blocks)} blocks")
        for block in blocks:
            before, after = AROUND[language]
            with tempfile.TemporaryDirectory() as name:
                source = Path(name, f"readme.{language}")
                source.write_text(before + block + after)
                flags = ["-Wall", "-Wextra", "-Werror", "-Wno-shadow", "-Wno-unused-parameter", f"-std={standard}"]
                run(compiler, *flags, f"-I{HERE / 'include'}", "-fsyntax-only", source)


def cmake(source: Path, build: Path, *options: str, library: Path = LIBRARY) -> None:
    """Configures and builds, on two processors."""
    run("cmake", "-S", source, "-B", build, f"-DFEDHDS_CARGO_DIR={library}", *options)
    run("cmake", "--build", build, "--parallel", "2")


def ctest(build: Path, **options: Any) -> None:
    run("ctest", "--test-dir", build, "--output-on-failure", "--no-tests=error", "--timeout", "300", **options)


def tests() -> None:
    """The C and C++ tests as they are."""
    cmake(TESTS, BUILDS / "plain")
    ctest(BUILDS / "plain")


def sanitizers() -> None:
    """The same under AddressSanitizer (with its leak check) and UndefinedBehaviorSanitizer."""
    cmake(TESTS, BUILDS / "sanitized", "-DSANITIZE=ON")
    settings = {"ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1", "UBSAN_OPTIONS": "print_stacktrace=1"}
    ctest(BUILDS / "sanitized", env={**os.environ, **settings})


def valgrind() -> None:
    """The same under Valgrind's memcheck, with less work for the models."""
    build = BUILDS / "plain"
    cmake(TESTS, build)
    whole = ["pointers", "handles", "values", "robust", "numerics", "hpp", "hpp_abi", "hpp_no_exceptions"]
    programs: list[list[object]] = [["models", MODEL, build / "out-models", "quick"]]
    for name in ("threads", "messages", "stages"):
        programs.append([name, "quick"])
    for name in whole:
        programs.append([name])
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(lambda program: run(*VALGRIND, build / str(program[0]), *program[1:], cwd=build), programs):
            pass


# Crates that only features of the core bring: `model` brings two, `experiment` (with the generated tasks) the others.
NOT_FOR_DEVICES = {"burn", "tokenizers", "plotters", "indicatif"}


def check_dependencies() -> None:
    """That selection alone is built without the features of the core, and so without the crates behind them."""
    tree = ["cargo", "tree", "--locked", "--no-default-features", "--edges", "normal", "--prefix", "none"]
    crates = {line.split()[0] for line in run(*tree, cwd=HERE).splitlines() if line.strip()}
    if "fedhds-core" not in crates:
        raise Failed(f"expected fedhds-core among the crates of selection alone, got {', '.join(sorted(crates))}")
    if strange := sorted(crates & NOT_FOR_DEVICES):
        raise Failed(f"expected selection alone without {', '.join(sorted(NOT_FOR_DEVICES))}, got {', '.join(strange)}")


def selection() -> None:
    """Selection alone as a device gets it: crates, symbols, size, the C tests without models, the whole library's bits."""
    check_dependencies()
    build = ["cargo", "rustc", "--locked", "--profile", "device", "-p", "fedhds-ffi", "--no-default-features"]
    # One kind of library at a time: cargo has no optimisation over all crates where an rlib is asked for as well.
    run(*build, "--crate-type", "cdylib", cwd=ROOT)
    library = DEVICE / "libfedhds.so"
    check_symbols(library, models=False)
    size = library.stat().st_size
    print(f"selection alone: {size:,} bytes", flush=True)
    if size >= MOST:
        raise Failed(f"expected selection alone to have less than {MOST:,} bytes, got {size:,}")
    cmake(TESTS, BUILDS / "selection", "-DFEDHDS_SELECTION_ONLY=ON", library=DEVICE)
    ctest(BUILDS / "selection")
    cmake(TESTS, BUILDS / "plain")
    small, whole = (run(BUILDS / name / "bits", cwd=BUILDS / name).splitlines() for name in ("selection", "plain"))
    if different := [f"{a} | {b}" for a, b in zip(small, whole, strict=True) if a != b]:
        raise Failed("expected the whole library's bits of selection alone, got\n" + "\n".join(different))


def package() -> None:
    """The CMake package from an install prefix: its version, its shared and its static library."""
    [version] = re.findall(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    said = (HERE / "cmake/fedhdsConfigVersion.cmake").read_text(encoding="utf-8")
    if f'set(PACKAGE_VERSION "{version}")' not in said:
        raise Failed(f"expected cmake/fedhdsConfigVersion.cmake to say {version}, as Cargo.toml does")
    with tempfile.TemporaryDirectory() as name:
        prefix = Path(name, "prefix")
        places = {
            "include": HERE.glob("include/*"),
            "lib": [LIBRARY / "libfedhds.so", LIBRARY / "libfedhds.a"],
            "lib/cmake/fedhds": HERE.glob("cmake/*"),
        }
        for place, files in places.items():
            (prefix / place).mkdir(parents=True)
            for file in files:
                shutil.copy2(file, prefix / place)
        for example, program in (("select-c", "select-c"), ("edge-cpp", "edge-server")):
            build = Path(name, example)
            cmake(ROOT / "examples" / example, build, f"-DCMAKE_PREFIX_PATH={prefix}", "-DFEDHDS_CARGO_DIR=")
            if str(prefix) not in (build / "CMakeCache.txt").read_text():
                raise Failed(f"{example}: expected the package of the prefix to be found")
            if example == "select-c":
                run(build / program)


def commands(readme: Path) -> str:
    """The commands of a README as they stand there, but for the profile."""
    [block] = re.findall(r"<!-- commands -->\n```sh\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    # One package alone would be another build of everything below it: cargo joins features for what it builds together.
    block = str(block).replace("cargo build --release -p fedhds-ffi", "cargo build --workspace")
    block = block.replace("target/release", "target/debug")
    return block.replace("-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_BUILD_TYPE=Release -DFEDHDS_CARGO_DIR={LIBRARY}")


def check_selected(printed: str) -> None:
    """That the C99 example ended with what its README says that it prints."""
    text = (SELECT / "README.md").read_text(encoding="utf-8")
    [expected] = re.findall(r"^prints\n\n```\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    if not printed.endswith(expected):
        raise Failed(f"expected select-c to print\n{expected}got\n{printed}")


def select_c() -> None:
    """The C99 example by the commands of its README."""
    check_selected(run("bash", "-euo", "pipefail", "-c", commands(SELECT / "README.md"), cwd=ROOT))


def edge_cpp() -> None:
    """The C++ federation by the commands of its README: the simulation's bits, with and without kills."""
    example = ROOT / "examples/edge-cpp"
    run("bash", "-euo", "pipefail", "-c", commands(example / "README.md"), cwd=ROOT)
    run("cargo", "build", "--locked", "--workspace", "--examples", cwd=ROOT)
    reference = LIBRARY / "examples/edge_reference"
    run(sys.executable, example / "test.py", ROOT / "target/edge-cpp", reference, quiet=False)


STEPS = {
    step.__name__: step
    for step in (
        prepare, library, symbols, headers, readme, tests, sanitizers, valgrind, selection, package, select_c, edge_cpp
    )
}


def main(names: list[str], steps: dict[str, Callable[[], None]]) -> None:
    """Runs the named steps, all of them where none is named."""
    if names == ["--list"]:
        print("\n".join(f"{name}: {step.__doc__}" for name, step in steps.items()))
        return
    if unknown := [name for name in names if name not in steps]:
        sys.exit(f"unknown step {unknown[0]}; usage: {Path(sys.argv[0]).name} [--list | STEP...]")
    for name in names or steps:
        begun = time.monotonic()
        try:
            steps[name]()
        except Failed as failure:
            sys.exit(f"ffi {name}: FAILED\n{failure}")
        print(f"ffi {name}: ok ({time.monotonic() - begun:.0f} s)", flush=True)
    print("ffi: all ok")


if __name__ == "__main__":
    main(sys.argv[1:], STEPS)
