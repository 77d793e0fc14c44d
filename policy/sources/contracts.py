"""The contracts of what lies behind the gateway: Sekisho's own, and those of services that it does not know."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from mesh.access.descriptors import Method, PolicyError, own_contracts, read_methods
from mesh.config import ConfigError
from policy.sources.descriptor_sets import read_descriptor_set
from policy.sources.gateway_config import GatewayConfig
from policy.sources.grants import with_grants


@dataclass(frozen=True, slots=True)
class Contracts:
    """What can be put behind the gateway.

    Attributes:
        methods: All methods, with their rules, by their path.
        declared: The contracts that declare a service, by its full name.

    """

    methods: Mapping[str, Method]
    declared: Mapping[str, FileDescriptorSet]


def read_contracts(config: GatewayConfig) -> Contracts:
    """Return Sekisho's own contracts, and of the backends' descriptor sets the services that each serves, with grants.

    What else the sets declare, such as the services of files that they import, is nobody's.

    Raises:
        ConfigError: If a file can't be used, or it is not clear which one declares a service; and where.

    """
    own = own_contracts()
    own_methods = read_methods(own)
    own_services = {method.service for method in own_methods.values()}
    methods, declared = dict[str, Method](), dict.fromkeys(own_services, own)
    read = cache(_read)  # backends may share a file
    for backend in config.backends:
        where = dict.fromkeys(own_services, "Sekisho's own contracts")
        for path in backend.descriptor_sets:
            contracts, found = read(path)
            served = {each: method for each, method in found.items() if method.service in backend.services}
            for service in sorted({method.service for method in served.values()}):
                if service in where:
                    raise ConfigError(
                        f"backend {backend.name}, service {service}: {where[service]} and {path} both declare it"
                    )
                where[service], declared[service] = str(path), contracts
            methods |= served
    if config.grants:
        methods = with_grants(config.grants, methods)
    return Contracts({**own_methods, **methods}, declared)


def _read(path: Path) -> tuple[FileDescriptorSet, Mapping[str, Method]]:
    contracts = read_descriptor_set(path)
    try:
        return contracts, read_methods(contracts)
    except PolicyError as error:
        raise ConfigError(f"{path}: {error}") from error
