"""The folder that a mesh on this machine lives in: what lies where, and whether the mesh is up."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from mesh.config import ConfigError
from mesh.security.secret_files import write_private

SERVICES = ("authserver", "payments", "gateway", "shops")
# Judges for Envoy, with the gateway's configuration, in its place.
CHECKPOINT = "checkpoint"
DEFAULT_HOME = Path(".sekisho")


def program(service: str) -> tuple[str, str]:
    """Return the module that runs a service, and the service whose configuration it reads."""
    return ("envoy_plane", "gateway") if service == CHECKPOINT else (service, service)


class MeshAddresses(msgspec.Struct, frozen=True):
    """Where everything of a running mesh is: addresses as `host:port`, a URL, and files."""

    # The gateway's public address.
    gateway: str
    # The marketplace's public address.
    shops: str
    # The URL of the auth server's HTTP face, its OAuth issuer.
    oauth: str
    # The CA that the certificates of all three come from, PEM.
    ca: Path
    # The Master Client's credentials.
    master_credentials: Path
    # The operator's credentials.
    operator_credentials: Path
    # The wallet application's credentials.
    wallet_credentials: Path
    # The folder of the services' logs.
    logs: Path
    # Where each process tells its metrics, by its name: `http://host:port/metrics`.
    metrics: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Home:
    """A home folder.

    Attributes:
        path: The folder, absolute.

    """

    path: Path

    @classmethod
    def at(cls, path: Path) -> "Home":
        """Return the home at a path, which need not exist yet."""
        return cls(path.absolute())

    @property
    def pki(self) -> Path:
        """Where CAs and certificates lie."""
        return self.path / "pki"

    @property
    def logs(self) -> Path:
        """Where the services' logs lie."""
        return self.path / "logs"

    @property
    def credentials(self) -> Path:
        """Where the credentials of the payment company's own clients lie."""
        return self.path / "credentials"

    def folder(self, service: str) -> Path:
        """Return where a service's configuration, keys and database lie."""
        return self.path / service

    def config(self, service: str) -> Path:
        """Return a service's configuration file.

        Raises:
            ConfigError: If there is none yet.

        """
        config = self.folder(service) / "config.yaml"
        if not config.exists():
            raise ConfigError(f"{config} is not there; run: sekisho up --home {self.path}")
        return config

    def database(self, service: str) -> str:
        """Return the URL of a service's database, as its configuration says.

        Raises:
            ConfigError: If there is no configuration yet, or the service has no database.

        """
        config = yaml.safe_load(self.config(service).read_text())
        if not isinstance(config, dict) or not isinstance(config.get("database"), str):
            raise ConfigError(f"{service} has no database")
        return str(config["database"])

    def log(self, service: str) -> Path:
        """Return a service's log."""
        return self.logs / f"{service}.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the home: one mesh at a time lives in it.

        Raises:
            ConfigError: If another process holds it.

        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.path / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(f"a mesh is up in {self.path} already; stop it, or choose another --home") from error
            yield

    def is_up(self) -> bool:
        """Say whether a mesh lives here now."""
        if not (self.path / "lock").exists():
            return False
        try:
            with self.locked():
                return False
        except ConfigError:
            return True

    def write_addresses(self, addresses: MeshAddresses) -> None:
        """Record where the running mesh is."""
        write_private(self._addresses, msgspec.json.encode(addresses, enc_hook=str))

    def forget_addresses(self) -> None:
        """Remove the record."""
        self._addresses.unlink(missing_ok=True)

    def read_addresses(self) -> MeshAddresses:
        """Return where the mesh that is up is.

        Raises:
            ConfigError: If it is still starting.

        """
        try:
            return msgspec.json.decode(self._addresses.read_bytes(), type=MeshAddresses, dec_hook=_path)
        except (FileNotFoundError, msgspec.DecodeError) as error:
            raise ConfigError(f"the mesh in {self.path} is still starting; try again in a moment") from error

    @property
    def _addresses(self) -> Path:
        return self.path / "mesh.json"


def read_credentials(file: Path) -> tuple[str, str]:
    """Return the client id and the client secret of a credentials file."""
    credentials = json.loads(file.read_text())
    return credentials["client_id"], credentials["client_secret"]


def _path(_kind: type, value: Any) -> Path:  # noqa: ANN401 - the shape that msgspec asks for
    return Path(value)
