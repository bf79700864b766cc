"""The aiohttp application: each operation of the contract is bound to its handler."""

from aiohttp import web

from csms_redis.access.control import AccessControl
from csms_redis.api.audit import AuditHandlers
from csms_redis.api.bodies import BodyReader
from csms_redis.api.bulk import BulkHandlers
from csms_redis.api.certificates import CertificateHandlers
from csms_redis.api.clients import ClientHandlers
from csms_redis.api.console import add_console
from csms_redis.api.docs import add_docs
from csms_redis.api.doubts import DOUBTS, no_doubts
from csms_redis.api.health import Components, HealthHandlers
from csms_redis.api.lookups import LookupHandlers
from csms_redis.api.middleware import AUDIT, WRITES, Handler, errors_and_log, only_admitted
from csms_redis.api.query_strings import without_query
from csms_redis.api.refused import RefusedHandlers
from csms_redis.api.rules import Check, RulesHandlers
from csms_redis.api.stations import StationHandlers
from csms_redis.api.tokens import TokenHandlers
from csms_redis.contract.operations import BASE_PATH, OPERATIONS
from csms_redis.lookup.lookups import Lookups
from csms_redis.lookup.refused import RefusedStations
from csms_redis.registry.certificates import Certificates
from csms_redis.registry.records import RecordStore
from csms_redis.registry.refused import RefusedStore
from csms_redis.registry.stations import Stations
from csms_redis.registry.tokens import Tokens
from csms_redis.rows.kinds import KINDS
from csms_redis.settings import ApiSettings
from csms_redis.telemetry.audit import AuditTrail
from csms_redis.telemetry.metrics import WriteCounts


def make_app(  # noqa: PLR0913 one keyword for each thing it is made of
    *,
    stations: Stations,
    tokens: Tokens,
    certificates: Certificates,
    lookups: Lookups,
    components: Components,
    access_control: AccessControl,
    refused: RefusedStations,
    refused_store: RefusedStore,
    store: RecordStore,
    check: Check,
    api: ApiSettings,
    max_body: int,
    request_timeout: float,
) -> web.Application:
    """Build the application.

    Args:
        stations: where stations are written.
        tokens: where tokens are written.
        certificates: where certificates are written.
        lookups: what answers the lookups.
        components: what readiness reports.
        access_control: who may do what.
        refused: which stations this process has turned away.
        refused_store: which stations all processes have turned away.
        store: where many records are read and written at once.
        check: makes the report of the settings and of Redis.
        api: how strictly requests are checked.
        max_body: bytes; a longer body is answered 413.
        request_timeout: seconds within which a body must have arrived.
    """
    bodies = BodyReader(strict=api.strict, timeout=request_timeout)
    station_handlers = StationHandlers(stations, lookups, bodies, api)
    token_handlers = TokenHandlers(tokens, lookups, bodies)
    certificate_handlers = CertificateHandlers(certificates, lookups, bodies, api)
    lookup_handlers = LookupHandlers(lookups, refused)
    health_handlers = HealthHandlers(components)
    trail = AuditTrail()
    rules_handlers = RulesHandlers(api, check)
    bulk_handlers = BulkHandlers(
        store=store,
        lookups=lookups,
        access_control=access_control,
        api=api,
        longest=max_body,
        timeout=request_timeout,
    )
    handlers: dict[str, Handler] = {
        "registerChargeStation": station_handlers.register,
        "lookupChargeStationAuth": lookup_handlers.station_auth,
        "setToken": token_handlers.set,
        "lookupToken": lookup_handlers.token,
        "uploadCertificate": certificate_handlers.upload,
        "lookupCertificate": lookup_handlers.certificate,
        "deleteCertificate": certificate_handlers.delete,
        "listChargeStations": station_handlers.list,
        "getChargeStation": station_handlers.get,
        "deleteChargeStation": station_handlers.delete,
        "setRegistrationStatus": station_handlers.set_status,
        "setChargeStationPassword": station_handlers.set_password,
        "listTokens": token_handlers.list,
        "deleteToken": token_handlers.delete,
        "listRefusedStations": RefusedHandlers(refused, refused_store).list,
        "listCertificates": certificate_handlers.list,
        "listWrites": AuditHandlers(trail).list,
        "getClient": ClientHandlers(access_control).get,
        "getRules": rules_handlers.get,
        "checkService": rules_handlers.check,
        "importChargeStations": bulk_handlers.taking("stations", KINDS["stations"]),
        "exportChargeStations": bulk_handlers.giving(KINDS["stations"], credentials=True),
        "importTokens": bulk_handlers.taking("tokens", KINDS["tokens"]),
        "exportTokens": bulk_handlers.giving(KINDS["tokens"], credentials=False),
        "importCertificates": bulk_handlers.taking("certificates", KINDS["certificates"]),
        "exportCertificates": bulk_handlers.giving(KINDS["certificates"], credentials=False),
    }
    middlewares = [errors_and_log, only_admitted(access_control)]
    app = web.Application(middlewares=middlewares, client_max_size=max_body)
    app[DOUBTS] = no_doubts()
    app[AUDIT] = trail
    app[WRITES] = WriteCounts(each.id for each in OPERATIONS if each.method != "GET")
    for operation in OPERATIONS:
        # aiohttp's own pattern does not match an id with braces, and base64 may have slashes
        wanted = "(?s:.+)" if operation.path.endswith("{certificateHash}") else "[^/]+"
        path = BASE_PATH + operation.path.replace("}", f":{wanted}}}")
        handler = handlers.pop(operation.id)
        if operation.query is None:
            handler = without_query(handler)
        if operation.method == "GET":  # HEAD comes with it
            app.router.add_get(path, handler, name=operation.id)
        else:
            app.router.add_route(operation.method, path, handler, name=operation.id)
    assert not handlers, f"no operation is called {', '.join(handlers)}"  # noqa: S101 seen at start
    app.router.add_get("/health", health_handlers.live, name="health")
    app.router.add_get("/health/live", health_handlers.live, name="healthLive")
    app.router.add_get("/health/ready", health_handlers.ready, name="healthReady")
    add_docs(app.router)
    add_console(app.router)
    return app
