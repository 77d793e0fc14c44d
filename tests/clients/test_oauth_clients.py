"""OAuth libraries of other languages, which know nothing of Sekisho, work with the HTTP face as it is."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12
from jwskate import Jwk

from sekisho.payments.v1 import partner_review_service_pb2 as review_pb
from tests.clients.built import command, go_command, go_version, kept, npm_folder, run
from tests.mesh import OK, Mesh, sekisho

pytestmark = pytest.mark.timeout(600)

HERE = Path(__file__).parent


def sources(name: str) -> list[Path]:
    return [path for path in (HERE / name).rglob("*") if path.is_file()]


def node_script(name: str) -> Path:
    """Install a library from npm beside the script that uses it; return the script."""
    return npm_folder(name) / "all_the_way.mjs"


@pytest.fixture(scope="module")
def x_oauth2() -> Path:
    """Build the program that uses golang.org/x/oauth2."""

    def build(folder: Path) -> None:
        run(go_command(), "vet", ".", folder=HERE / "x_oauth2")
        run(go_command(), "build", "-trimpath", "-buildvcs=false", "-o", folder, ".", folder=HERE / "x_oauth2")

    return kept("x_oauth2", go_version(), sources("x_oauth2"), build) / "x_oauth2"


@pytest.fixture(scope="module")
def spring_security() -> list[str]:
    """Build the program that uses Spring Security; return how it is called."""
    maven, java, compiler = command("mvn"), command("java"), command("javac")
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True).stdout

    def build(folder: Path) -> None:
        shutil.copytree(HERE / "spring_security", folder, dirs_exist_ok=True)
        run(maven, "--batch-mode", "--no-transfer-progress", "compile", "dependency:copy-dependencies", folder=folder)

    target = kept("spring-security", version, sources("spring_security"), build) / "target"
    return [java, "-cp", f"{target / 'classes'}:{target / 'dependency' / '*'}", "AllTheWay"]


def output(*arguments: str | Path, **environment: str) -> str:
    """Return what a program prints, which must end well."""
    everything = {**os.environ, **environment}
    done = subprocess.run(arguments, env=everything, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Operator:
    """An operator that was created beside the auth server's database, and what it proves itself by."""

    method: str
    client_id: str
    client_secret: str = ""


def operator(mesh: Mesh, method: str, *arguments: str | Path) -> Operator:
    command = ["clients", "create", "operator", "alice", "--token-endpoint-auth-method", method]
    created = sekisho(*command, *map(str, arguments), "--home", str(mesh.home.path), "--json")
    assert created.returncode == 0, created.stderr
    told = json.loads(created.stdout)
    return Operator(method, told["client_id"], told.get("client_secret", ""))


def outcome(mesh: Mesh, token: str) -> tuple[str, str]:
    """Return what a call with the token is answered by the gateway."""
    listing = review_pb.ListPendingPartnerApplicationsRequest()
    return mesh.attempt(mesh.reviews.ListPendingPartnerApplications, listing, token)


def test_openid_client_goes_all_the_way_by_a_key_of_its_own(mesh: Mesh) -> None:
    client_id, client_secret = mesh.credentials("master")
    printed = output(
        command("node"),
        node_script("openid_client"),
        NODE_EXTRA_CA_CERTS=mesh.addresses["ca"],
        ISSUER=mesh.addresses["oauth"],
        MASTER_ID=client_id,
        MASTER_SECRET=client_secret,
        SOFTWARE_STATEMENT=mesh.approved_application(mesh.token("master")).software_statement,
    )
    seen = json.loads(printed)
    assert seen.pop("client_id") == seen.pop("introspected")
    assert seen == {
        "master_scope": "clients.write",
        "has_secret": False,
        "after": {"active": False},
        "changed": "Coffee House",
        "deleted": 204,
        "gone": 401,
    }


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_simple_oauth2_takes_tokens_and_revokes_them(mesh: Mesh, method: str) -> None:
    alice = operator(mesh, method)
    printed = output(
        command("node"),
        node_script("simple_oauth2"),
        NODE_EXTRA_CA_CERTS=mesh.addresses["ca"],
        ISSUER=mesh.addresses["oauth"],
        METHOD=method,
        CLIENT_ID=alice.client_id,
        CLIENT_SECRET=alice.client_secret,
    )
    outcomes = {name: outcome(mesh, token) for name, token in json.loads(printed).items()}
    assert outcomes == {"good": OK, "revoked": ("UNAUTHENTICATED", "INVALID_TOKEN")}


@pytest.mark.parametrize(
    ("method", "style"),
    [
        ("client_secret_basic", "header"),
        ("client_secret_post", "parameters"),
        ("client_secret_basic", "detected"),
        ("client_secret_post", "detected"),
    ],
)
def test_x_oauth2_takes_tokens(mesh: Mesh, x_oauth2: Path, method: str, style: str) -> None:
    alice = operator(mesh, method)
    printed = output(
        x_oauth2,
        SSL_CERT_FILE=mesh.addresses["ca"],
        ISSUER=mesh.addresses["oauth"],
        STYLE=style,
        CLIENT_ID=alice.client_id,
        CLIENT_SECRET=alice.client_secret,
    )
    assert outcome(mesh, printed.strip()) == OK


def key_files(folder: Path, alg: str) -> tuple[Path, Path]:
    """Write a new private key, and the set of its public key and one for encryption; return both files."""
    key = Jwk.generate(alg=alg).with_kid_thumbprint()
    other = {**Jwk.generate(alg="ECDH-ES", crv="P-256").public_jwk().to_dict(), "use": "enc"}
    private, public = folder / f"{alg}.json", folder / f"{alg}-jwks.json"
    private.write_text(key.to_json(), encoding="utf-8")
    public.write_text(json.dumps({"keys": [other, key.public_jwk().to_dict()]}), encoding="utf-8")
    return private, public


def test_spring_security_takes_tokens_by_each_method_from_the_issuer_uri_alone(
    mesh: Mesh, spring_security: list[str], tmp_path: Path
) -> None:
    (authority,) = x509.load_pem_x509_certificates(Path(mesh.addresses["ca"]).read_bytes())
    trusted = [pkcs12.PKCS12Certificate(authority, b"mesh")]
    truststore = tmp_path / "truststore.p12"
    truststore.write_bytes(pkcs12.serialize_java_truststore(trusted, BestAvailableEncryption(b"changeit")))
    java, *rest = spring_security
    trust = [f"-Djavax.net.ssl.trustStore={truststore}", "-Djavax.net.ssl.trustStorePassword=changeit"]
    arguments = []
    for method in ("client_secret_basic", "client_secret_post"):
        alice = operator(mesh, method)
        arguments += [method, alice.client_id, alice.client_secret]
    for alg in ("ES256", "RS256"):
        private, public = key_files(tmp_path, alg)
        alice = operator(mesh, "private_key_jwt", "--jwks", public)
        arguments += [alice.method, alice.client_id, str(private)]
    tokens = output(java, *trust, *rest, mesh.addresses["oauth"], *arguments).split()
    assert [outcome(mesh, token) for token in tokens] == [OK] * 4
