"""Files that appear completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from . import _checks
from .errors import ConfigError

LONGEST = 255  # bytes of a name, where the system does not say
ALLOCATED = 2**30  # bytes; more would take long where a file system only pretends to allocate
NETCDF = (".nc", ".nc4", ".h5", ".hdf5")
_ERRNO = re.compile(r"errno = (\d+)")  # in what HDF5 says


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str], size: int = 0) -> Iterator[Path]:
    """Yield a name to write to; the file replaces `path` once written, and is deleted on any error.

    A link is followed, and a replaced file keeps its permissions. If `size` bytes do not fit,
    nothing is written: HDF5 does not always survive a full disk. An OSError names `path`, not the
    temporary name.
    """
    final = Path(os.path.realpath(path))
    part = temporary_name(final)
    try:
        _make(part, size, final)
        yield part
        with open(part, "rb+") as f:
            _like(final, f.fileno())
            os.fsync(f.fileno())
        os.replace(part, final)
    except (OSError, RuntimeError) as e:  # h5py raises either
        if (number := _number(e, part)) is None:
            raise
        raise OSError(number, os.strerror(number), os.fspath(path)) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
    if os.name == "posix":  # the new name itself must survive a power cut
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def temporary_name(final: Path) -> Path:
    """Return an unused hidden name in the same folder, not longer than the longest allowed name."""
    return final.with_name(
        f".{os.fsencode(final.name)[:60].decode(errors='ignore')}.{secrets.token_hex(4)}.part"
    )


def _make(part: Path, size: int, final: Path) -> None:
    """Create an empty file under an unused name, with the umask's permissions and room for its
    contents.

    It is never more widely readable than the file that it will replace.
    """
    mode = 0o666
    if final.exists():
        mode &= stat.S_IMODE(final.stat().st_mode) | stat.S_IRUSR | stat.S_IWUSR
    made = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    try:
        if size and os.name == "posix":
            _check_room(made, size)
    finally:
        os.close(made)


def _check_room(file: int, size: int) -> None:
    """Refuse sizes that a full disk, a quota or a limit of this process would not allow."""
    there = os.fstatvfs(file)
    if there.f_blocks and there.f_bavail * there.f_frsize < size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if size <= ALLOCATED and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
            os.ftruncate(file, 0)
        except OSError as e:  # others mean that the file system cannot do it
            if e.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise


def _like(old: Path, new: int) -> None:
    """Give a new file the permissions of the one that it replaces, and owner and group if
    allowed.
    """
    if os.name == "posix" and old.exists():
        was = old.stat()
        for owner in (was.st_uid, -1):  # only root may give files away; others, to their groups
            with contextlib.suppress(OSError):
                os.fchown(new, owner, was.st_gid)
                break
        os.fchmod(new, stat.S_IMODE(was.st_mode))


def _number(error: OSError | RuntimeError, part: Path) -> int | None:
    """Return the system's error number if the error is about `part`; HDF5 hides it in its text."""
    if isinstance(error, OSError) and error.errno and error.filename in (None, str(part)):
        return error.errno
    found = _ERRNO.search(str(error))
    return int(found[1]) if found else None


def check_path(name: str, path: str | os.PathLike[str]) -> Path:
    """Return something that can be a path."""
    try:
        p = Path(path)
    except TypeError:
        raise TypeError(f"{name}: expected a path, got {_checks.short(path)}") from None
    if "\0" in str(p):
        raise ValueError(
            f"{name}: expected a path without NUL characters, got {_checks.short(str(p))}"
        )
    return p


def check_folder(name: str, path: str | os.PathLike[str], longer: int = 0) -> Path:
    """Return a path to which a file can be written, perhaps replacing an existing one.

    `longer` is how many bytes the names of companion files are longer.
    """
    p = check_path(name, path)
    try:
        _check_place(name, p, longer)
    except OSError as e:
        raise ValueError(f"{name}: {e.strerror or e}: {_brief(p)}") from None
    return p


def _check_place(name: str, p: Path, longer: int) -> None:
    final = Path(os.path.realpath(p))
    if final.parent.is_dir() and (size := len(os.fsencode(final.name))) > (
        longest := _longest(final.parent) - longer
    ):
        raise ValueError(
            f"{name}: expected a name of at most {longest} bytes, got {size} in {_brief(p)}"
        )
    if p.is_dir():
        raise ValueError(f"{name}: expected a file, got the folder {str(p)!r}")
    linked = f"{str(p)!r} links to {str(final)!r}; " if p.is_symlink() else ""
    folder = str(final.parent if linked else p.parent)
    if final.is_symlink():
        raise ValueError(f"{name}: {str(p)!r} is a link that leads back to itself")
    if not final.parent.is_dir():
        raise ValueError(f"{name}: {linked}the folder {folder!r} does not exist")
    if not os.access(final.parent, os.W_OK | os.X_OK):
        raise ValueError(f"{name}: {linked}the folder {folder!r} cannot be written to")
    if not final.exists():
        return
    if not final.is_file():
        raise ValueError(f"{name}: expected a file, got {str(p)!r}, which is not a regular file")
    anybody = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    if not final.stat().st_mode & anybody or not os.access(final, os.W_OK):  # root may write to all
        raise ValueError(f"{name}: the file {str(p)!r} is read-only")


def _longest(folder: Path) -> int:
    """Return the largest number of bytes of a name."""
    try:
        return os.pathconf(folder, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows, or a file system that does not say
        return LONGEST


def make_folder(name: str, path: str | os.PathLike[str]) -> Path:
    """Return a folder, created if necessary."""
    p = check_path(name, path)
    try:
        p.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise ValueError(f"{name}: expected a folder, got {_brief(p)} ({e.strerror})") from None
    return p


def stem(output: str, name: str) -> str:
    """Return the names of files without suffix: `output`, or `name` inside it if `output` is a
    folder.

    Raises
    ------
    ConfigError
        If nothing is left without .nc or .png.
    """
    if output and os.path.basename(output) in ("", ".", ".."):
        return os.path.join(output, name)
    last = os.path.basename(output)
    short = last.removesuffix(".nc").removesuffix(".png")
    if not short:
        raise ConfigError(f"output: expected a name, got {output!r}")
    return output[: len(output) - (len(last) - len(short))]


def check_netcdf(name: str, path: str | os.PathLike[str], elsewise: str = "") -> Path:
    """Return the path of a netCDF4 file, as `check_folder`; refuse names of other formats, and to
    replace other files.

    `elsewise` says how to write other formats.
    """
    p = check_folder(name, path)
    if re.fullmatch(r"\.[A-Za-z]\w*", p.suffix) and p.suffix not in NETCDF:  # "lr0.1" has none
        raise ValueError(f"{name}: expected a name that ends in .nc, got {str(p)!r}{elsewise}")
    if p.is_file() and p.stat().st_size and kind(p) != "netCDF":
        raise ValueError(f"{name}: {str(p)!r} exists and is not a netCDF file; it is not replaced")
    return p


def kind(path: Path) -> str:
    """Return the type of a file by its first bytes: netCDF, SQLite, zip, or none of these."""
    with contextlib.suppress(OSError), open(path, "rb") as f:
        start = f.read(16)
        for name, first in (
            ("netCDF", b"\x89HDF\r\n\x1a\n"),
            ("netCDF", b"CDF"),
            ("SQLite", b"SQLite format 3\0"),
            ("zip", b"PK"),
        ):
            if start.startswith(first):
                return name
    return ""


def _brief(p: Path) -> str:
    text = repr(str(p))
    return text if len(text) <= 100 else f"{text[:60]}...{text[-37:]}"
