"""The operations on client certificates, but for the lookup (`api.lookups`)."""

from http import HTTPStatus

from aiohttp import web

from csms_redis.api import doubts
from csms_redis.api.bodies import BodyReader
from csms_redis.api.middleware import RECORD
from csms_redis.api.pages import page_reply
from csms_redis.api.path_ids import known_id
from csms_redis.api.query_strings import read_query
from csms_redis.contract.certificates import check_certificate
from csms_redis.contract.errors import NotFound
from csms_redis.contract.models import Certificate
from csms_redis.contract.queries import CertificateQuery
from csms_redis.lookup.lookups import Lookups
from csms_redis.registry.certificates import CERTIFICATE, Certificates
from csms_redis.settings import ApiSettings


class CertificateHandlers:
    """Answers the operations on `/certificate`."""

    def __init__(
        self, certificates: Certificates, lookups: Lookups, bodies: BodyReader, api: ApiSettings
    ) -> None:
        """Handle requests.

        Args:
            certificates: where certificates are written.
            lookups: told of each change, so that this process forgets what it knew.
            bodies: reads the requests' bodies.
            api: how strictly certificates are checked.
        """
        self._certificates = certificates
        self._lookups = lookups
        self._bodies = bodies
        self._strict = api.strict

    async def upload(self, request: web.Request) -> web.Response:
        """Answer `uploadCertificate`."""
        body = await self._bodies.read(request, Certificate)
        certificate = check_certificate(body.certificate, strict=self._strict)
        request[RECORD] = {"certificateHash": certificate.hash}
        with self._lookups.changing(CERTIFICATE, certificate.hash):
            await self._certificates.upload(certificate)
        doubts.tell(request, "certificate", request[RECORD], certificate.doubts)
        return web.Response(status=HTTPStatus.CREATED)

    async def delete(self, request: web.Request) -> web.Response:
        """Answer `deleteCertificate`."""
        found = known_id(request, CERTIFICATE)
        request[RECORD] = {"certificateHash": found}
        with self._lookups.changing(CERTIFICATE, found):
            deleted = await self._certificates.delete(found)
        if not deleted:
            raise NotFound(CERTIFICATE.not_found)
        return web.Response(status=HTTPStatus.NO_CONTENT)

    async def list(self, request: web.Request) -> web.Response:
        """Answer `listCertificates`."""
        query = read_query(request, CertificateQuery)
        return page_reply(request, query, await self._certificates.page(query))
