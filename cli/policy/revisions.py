"""Git revisions of the files that a policy is made of, without a touch on the working tree."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mesh.config import ConfigError


@contextmanager
def checked_out(revision: str, file: Path) -> Iterator[Path]:
    """Lay out a revision of a file's repository in a temporary folder; yield the file's path there.

    The whole repository is laid out: a configuration names other files, as it likes. Neither working tree nor index
    are touched, and no hook runs.

    Raises:
        ConfigError: If the file is in no repository, or there is no such revision, or the file is not in it.

    """
    folder = file.absolute().parent
    while not folder.is_dir():  # it may be gone in the working tree
        folder = folder.parent
    root = Path(_git(folder, "rev-parse", "--show-toplevel"))
    try:
        inside = Path(os.path.normpath(file.absolute())).resolve().relative_to(root.resolve())
    except ValueError as error:
        raise ConfigError(f"{file} is not in the repository {root}") from error
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    with TemporaryDirectory(prefix="sekisho-policy-") as temporary:
        tree, index = Path(temporary) / "tree", Path(temporary) / "index"
        tree.mkdir()
        _git(root, "read-tree", commit, index=index)
        _git(root, "checkout-index", "--all", f"--prefix={tree}/", index=index)
        if not (tree / inside).is_file():
            raise ConfigError(f"{inside} is not in the revision {revision}")
        yield tree / inside


def _git(folder: Path, *arguments: str, index: Path | None = None) -> str:
    environment = {**os.environ, **({"GIT_INDEX_FILE": str(index)} if index else {})}
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - git is where the user has it
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise ConfigError(f"git can't be run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise ConfigError(said[-1] if said else f"git knows no commit {arguments[-1].removesuffix('^{commit}')}")
    return done.stdout.strip()
