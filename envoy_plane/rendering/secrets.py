"""Certificates, keys and CAs: Envoy reads each from its file, and again when the file is replaced."""

from collections.abc import Mapping
from pathlib import Path

from envoy_plane.rendering.typed import Json, typed
from mesh.config import ChannelConfig, ServerConfig

_SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type


class Secrets:
    """Collects what the configuration refers to. Contents stay in their own files.

    Args:
        folder: Where the files will lie that tell Envoy of certificates.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, Json] = {}

    @property
    def files(self) -> Mapping[str, Json]:
        """The files to write, by their name in the folder."""
        return self._files

    def downstream(self, name: str, server: ServerConfig) -> Json:
        """Return how a listener shows its certificate, and whose it takes."""
        common: Json = {
            **_protocol(),
            "tls_certificate_sds_secret_configs": [self._certificate(name, server.certificate, server.private_key)],
        }
        context: Json = {"common_tls_context": common}
        if server.client_ca:
            common["validation_context_sds_secret_config"] = self._ca(f"{name}-client-ca", server.client_ca)
            context["require_client_certificate"] = True
        return typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", **context)

    def upstream(self, name: str, channel: ChannelConfig, host: str) -> Json:
        """Return how a service is reached: with which certificate, and by what name it must prove itself."""
        server_name = channel.server_name or host
        san = {"san_type": _san_type(server_name), "matcher": {"exact": server_name}}
        common: Json = {
            **_protocol(),
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [san]},
                "validation_context_sds_secret_config": self._ca(f"{name}-ca", channel.ca),
            },
        }
        if channel.certificate and channel.private_key:
            shown = self._certificate(name, channel.certificate, channel.private_key)
            common["tls_certificate_sds_secret_configs"] = [shown]
        return typed(
            "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", sni=server_name, common_tls_context=common
        )

    def _certificate(self, name: str, certificate: Path, private_key: Path) -> Json:
        pair = {
            "certificate_chain": {"filename": str(certificate.absolute())},
            "private_key": {"filename": str(private_key.absolute())},
            "watched_directory": {"path": str(certificate.absolute().parent)},
        }
        return self._add(f"{name}-certificate", tls_certificate=pair)

    def _ca(self, name: str, ca: Path) -> Json:
        trusted = {
            "trusted_ca": {"filename": str(ca.absolute())},
            "watched_directory": {"path": str(ca.absolute().parent)},
        }
        return self._add(name, validation_context=trusted)

    def _add(self, name: str, **content: Json) -> Json:
        file = f"{name}.yaml"
        self._files[file] = {"resources": [typed(_SECRET, name=name, **content)]}
        source = {"path": str(self._folder / file)}
        return {"name": name, "sds_config": {"resource_api_version": "V3", "path_config_source": source}}


def _protocol() -> Json:
    return {"alpn_protocols": ["h2"], "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"}}


def _san_type(name: str) -> str:
    return "IP_ADDRESS" if name.replace(".", "").isdigit() or ":" in name else "DNS"
