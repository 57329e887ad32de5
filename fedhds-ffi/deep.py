"""The checks of the C ABI that take long or need more than Rust, C and Python: Miri, fuzzers, other processors, cargo-c.

Standard library alone. `deep.py STEP...` runs the named steps, `deep.py --list` names them; each says what it misses.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from check import HERE, ROOT, SELECT, TESTS, Failed, check_selected, main, run

FUZZ = ROOT / "fedhds-core/fuzz"
# Seconds of one fuzz target.
SECONDS = os.environ.get("FUZZ_SECONDS", "600")
# C tests that need no model, with less work where they take it.
PROGRAMS: dict[str, list[str]] = {"pointers": [], "handles": [], "values": [], "numerics": []} | {
    name: ["quick"] for name in ("messages", "stages", "threads")
}


def need(program: str, how: str) -> None:
    """Fails with advice where a program is missing."""
    if not shutil.which(program):
        raise Failed(f"expected {program} to be installed: {how}")


def miri() -> None:
    """Undefined behaviour: the C functions, and the core's decoding, products and types, by Rust's interpreter."""
    if subprocess.run(["cargo", "+nightly", "miri", "--version"], capture_output=True).returncode != 0:
        raise Failed("expected Miri: rustup +nightly component add miri rust-src")
    # Stacked borrows, the default, do not know crossbeam's pointers; rayon's threads live to the end, so leak.
    flags = "-Zmiri-tree-borrows -Zmiri-disable-isolation -Zmiri-ignore-leaks"
    more = {
        "MIRIFLAGS": flags,
        "CARGO_TARGET_DIR": str(ROOT / "target/miri"),
        # Without backtraces, which take longer than the tests.
        "RUST_BACKTRACE": "0",
        "PROPTEST_CASES": "3",
        "PROPTEST_DISABLE_FAILURE_PERSISTENCE": "true",
    }
    environment = {**os.environ, **more}
    test = ["cargo", "+nightly", "miri", "test", "--no-default-features"]
    run(*test, "-p", "fedhds-ffi", "--test", "abi", cwd=ROOT, env=environment)
    parts = ["reduce::product", "protocol::", "types::"]
    run(*test, "-p", "fedhds-core", "--lib", "--", *parts, cwd=ROOT, env=environment)


def fuzz() -> None:
    """Every fuzz target under AddressSanitizer, FUZZ_SECONDS each (600)."""
    need("cargo-fuzz", "cargo install cargo-fuzz")
    names = re.findall(r'^name = "(\w+)"$', (FUZZ / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    for name in names:
        printed = run("cargo", "+nightly", "fuzz", "run", name, "--", f"-max_total_time={SECONDS}", cwd=FUZZ)
        done = re.findall(r"Done (\d+) runs in (\d+) second", printed)
        if not done:
            raise Failed(f"{name}: expected libFuzzer to say what it did, got\n{printed[-2000:]}")
        print(f"fuzz {name}: {int(done[-1][0]):,} runs in {done[-1][1]} s, no finding", flush=True)


def on(target: str, compiler: str, emulator: list[str]) -> None:
    """Builds selection alone for another processor and runs the C tests and the C99 example there."""
    if not list(Path(run("rustc", "--print", "target-libdir", "--target", target).strip()).glob("libstd-*")):
        raise Failed(f"expected Rust's standard library for {target}: rustup target add {target}")
    need(compiler, "a GCC for that processor, with its C library")
    linker = f"CARGO_TARGET_{target.upper().replace('-', '_')}_LINKER"
    build = ["cargo", "build", "--locked", "--release", "-p", "fedhds-ffi", "--no-default-features"]
    run(*build, "--target", target, cwd=ROOT, env={**os.environ, linker: compiler})
    library = ROOT / "target" / target / "release/libfedhds.a"
    with tempfile.TemporaryDirectory() as folder:
        for source in [*(TESTS / f"{name}.c" for name in PROGRAMS), SELECT / "main.c"]:
            program = Path(folder, source.stem)
            flags = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-DFEDHDS_SELECTION_ONLY"]
            system = ["-lpthread", "-ldl", "-lm"]
            run(compiler, *flags, f"-I{HERE / 'include'}", source, library, *system, "-o", program)
            printed = run(*emulator, program, *PROGRAMS.get(source.stem, []), cwd=folder)
            if source.stem == "main":
                check_selected(printed)


def aarch64() -> None:
    """Selection alone for 64-bit ARM: the C tests without models and the C99 example, under qemu-user."""
    need("qemu-aarch64", "Debian's qemu-user")
    on("aarch64-unknown-linux-gnu", "aarch64-linux-gnu-gcc", ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"])


def i686() -> None:
    """Selection alone for 32 bits: the same, by the processor itself."""
    loader = "/usr/i686-linux-gnu/lib/ld-linux.so.2"
    need(loader, "Debian's libc6-dev-i386-cross")
    on("i686-unknown-linux-gnu", "i686-linux-gnu-gcc", [loader, "--library-path", "/usr/i686-linux-gnu/lib"])


def types() -> None:
    """The whole library type-checks for 64-bit ARM and for 32 bits."""
    for target, compiler in (("aarch64-unknown-linux-gnu", "aarch64"), ("i686-unknown-linux-gnu", "i686")):
        environment = {**os.environ, f"CC_{target.replace('-', '_')}": f"{compiler}-linux-gnu-gcc"}
        run("cargo", "check", "--locked", "--release", "-p", "fedhds-ffi", "--target", target, cwd=ROOT, env=environment)


def cargo_c() -> None:
    """An install by cargo-c: headers, versioned shared library, pkg-config and CMake files, with a program on each."""
    need("cargo-cinstall", "cargo install cargo-c")
    need("pkg-config", "Debian's pkg-config")
    install = ["cargo", "cinstall", "--locked", "--profile", "device", "-p", "fedhds-ffi", "--no-default-features"]
    with tempfile.TemporaryDirectory() as name:
        prefix = Path(name, "prefix")
        run(*install, f"--prefix={prefix}", "--libdir=lib", cwd=ROOT)
        library = prefix / "lib/libfedhds.so"
        soname = re.findall(r"SONAME.*\[(.*)\]", run("readelf", "--dynamic", library))
        if soname != ["libfedhds.so.2"]:
            raise Failed(f"expected the soname libfedhds.so.2, got {soname}")
        environment = {**os.environ, "PKG_CONFIG_PATH": str(prefix / "lib/pkgconfig")}
        flags = run("pkg-config", "--cflags", "--libs", "fedhds", env=environment).split()
        program = Path(name, "select")
        run("cc", "-std=c99", "-DFEDHDS_SELECTION_ONLY", SELECT / "main.c", *flags, "-o", program)
        check_selected(run(program, env={**os.environ, "LD_LIBRARY_PATH": str(prefix / "lib")}))
        build = Path(name, "build")
        run("cmake", "-S", SELECT, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
        if str(prefix) not in (build / "CMakeCache.txt").read_text():
            raise Failed("expected the CMake package of the prefix to be found")
        run("cmake", "--build", build)
        check_selected(run(build / "select-c"))


STEPS = {step.__name__: step for step in (miri, fuzz, aarch64, i686, types, cargo_c)}


if __name__ == "__main__":
    main(sys.argv[1:], STEPS)
