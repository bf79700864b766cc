"""The kinds that are no part of Kubernetes: what of them is used here, checked by hand.

No Python package at hand has all of these schemas. Each model has the properties that the
manifests use, and refuses any other. On 2026-11-28 all of these objects were held against the
CustomResourceDefinitions themselves, with no unknown property allowed, and had no error: those
of Gateway API 1.6.1 (standard), cert-manager 1.21.1, External Secrets 2.9.0 and the Prometheus
operator 0.93.0. The tests do not do that.
"""

import json
from functools import cache
from typing import Annotated, Any, Literal

import kubernetes_validate  # type: ignore[import-untyped]
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tests.deploy.kustomize import Manifest

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Host = Annotated[str, Field(pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Duration = Annotated[str, Field(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")]


class Part(BaseModel):
    """A part of an object, with no property that is not named here."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Metadata(Part):
    name: Name
    namespace: Name = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Reference(Part):
    group: str
    kind: str
    name: Name
    namespace: Name = "default"
    port: Annotated[int, Field(ge=1, le=65535)] = 1
    weight: int = 1


class PathMatch(Part):
    type: Literal["Exact", "PathPrefix", "RegularExpression"]
    value: Annotated[str, Field(pattern="^/")]


class Match(Part):
    path: PathMatch


class RouteRule(Part):
    matches: list[Match]
    backendRefs: list[Reference]


class RouteSpec(Part):
    parentRefs: list[Reference]
    hostnames: list[Host] = []
    rules: list[RouteRule]


class HTTPRoute(Part):
    apiVersion: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: RouteSpec


class BackendValidation(Part):
    hostname: Name
    caCertificateRefs: list[Reference]


class BackendTLSSpec(Part):
    targetRefs: list[Reference]
    validation: BackendValidation


class BackendTLSPolicy(Part):
    apiVersion: Literal["gateway.networking.k8s.io/v1"]
    kind: Literal["BackendTLSPolicy"]
    metadata: Metadata
    spec: BackendTLSSpec


class IssuerReference(Part):
    group: Literal["cert-manager.io"]
    kind: Literal["Issuer", "ClusterIssuer"]
    name: Name


class PrivateKey(Part):
    algorithm: Literal["ECDSA"]
    size: Literal[256, 384, 521]
    rotationPolicy: Literal["Always", "Never"]


class CertificateSpec(Part):
    secretName: Name
    issuerRef: IssuerReference
    privateKey: PrivateKey
    usages: list[
        Literal["digital signature", "server auth", "client auth", "cert sign", "crl sign"]
    ]
    duration: Duration
    renewBefore: Duration
    dnsNames: list[Name] = []
    commonName: Annotated[str, Field(max_length=64)] = ""
    isCA: bool = False


class Certificate(Part):
    apiVersion: Literal["cert-manager.io/v1"]
    kind: Literal["Certificate"]
    metadata: Metadata
    spec: CertificateSpec


class CertificateAuthority(Part):
    secretName: Name


class SelfSigned(Part):
    pass


class IssuerSpec(Part):
    selfSigned: SelfSigned | None = None
    ca: CertificateAuthority | None = None


class Issuer(Part):
    apiVersion: Literal["cert-manager.io/v1"]
    kind: Literal["Issuer"]
    metadata: Metadata
    spec: IssuerSpec


class StoreReference(Part):
    kind: Literal["SecretStore", "ClusterSecretStore"]
    name: Name


class Target(Part):
    name: Name
    creationPolicy: Literal["Owner", "Orphan", "Merge", "None"]
    deletionPolicy: Literal["Delete", "Merge", "Retain"]


class Extract(Part):
    key: str
    conversionStrategy: Literal["Default", "Unicode"]
    decodingStrategy: Literal["Auto", "Base64", "Base64URL", "None"]
    metadataPolicy: Literal["None", "Fetch"]


class Source(Part):
    extract: Extract


class ExternalSecretSpec(Part):
    refreshInterval: Duration
    refreshPolicy: Literal["CreatedOnce", "Periodic", "OnChange"]
    secretStoreRef: StoreReference
    target: Target
    dataFrom: list[Source]


class ExternalSecret(Part):
    apiVersion: Literal["external-secrets.io/v1"]
    kind: Literal["ExternalSecret"]
    metadata: Metadata
    spec: ExternalSecretSpec


class KeyReference(Part):
    name: Name
    key: str


class SecretOrConfigMap(Part):
    secret: KeyReference


class EndpointTls(Part):
    serverName: Name
    ca: SecretOrConfigMap


class BasicAuth(Part):
    username: KeyReference
    password: KeyReference


class Relabeling(Part):
    action: Literal["replace"]
    targetLabel: str
    replacement: str


class Endpoint(Part):
    port: str
    path: str
    interval: Duration
    scheme: Literal["http", "https"] = "http"
    tlsConfig: EndpointTls | None = None
    basicAuth: BasicAuth | None = None
    relabelings: list[Relabeling] = []


class Selector(Part):
    matchLabels: dict[str, str]


class ServiceMonitorSpec(Part):
    jobLabel: str
    selector: Selector
    endpoints: list[Endpoint]


class ServiceMonitor(Part):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["ServiceMonitor"]
    metadata: Metadata
    spec: ServiceMonitorSpec


class Alert(Part):
    """An alerting rule; its duration is called `for`."""

    alert: str
    expr: str
    wait: Annotated[Duration | None, Field(alias="for")] = None
    labels: dict[str, str]
    annotations: dict[str, str]


class AlertGroup(Part):
    name: str
    rules: list[Alert]


class PrometheusRuleSpec(Part):
    groups: list[AlertGroup]


class PrometheusRule(Part):
    apiVersion: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PrometheusRule"]
    metadata: Metadata
    spec: PrometheusRuleSpec


_CUSTOM: TypeAdapter[Any] = TypeAdapter(
    Annotated[
        HTTPRoute
        | BackendTLSPolicy
        | Certificate
        | Issuer
        | ExternalSecret
        | ServiceMonitor
        | PrometheusRule,
        Field(discriminator="kind"),
    ]
)


def is_custom(manifest: Manifest) -> bool:
    """Whether an object's kind is no part of Kubernetes."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return "." in group and not (group.endswith(".k8s.io") and "gateway" not in group)


def validate(manifest: Manifest, version: str) -> None:
    """Hold an object against Kubernetes' schemas of a version, or against the models here.

    Raises:
        kubernetes_validate.ValidationError: it is not valid.
        pydantic.ValidationError: it is not, and its kind is no part of Kubernetes.
    """
    if is_custom(manifest):
        _CUSTOM.validate_python(manifest)
    else:
        _validated(json.dumps(manifest, sort_keys=True), version)


@cache  # many renderings have the same object
def _validated(manifest: str, version: str) -> None:
    kubernetes_validate.validate(json.loads(manifest), version, strict=True)
