"""Preparing an InfluxDB 2.7 for poolwatch: organisation, buckets with retention, and one token for each service.

Everything can be done again: what is there as it should be stays, and is said to stay. Tokens are known by their
description and by the file that holds them; a bucket's retention is never changed, because shortening it deletes.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import urllib3
from influxdb_client import (
    Authorization,
    Bucket,
    BucketRetentionRules,
    InfluxDBClient,
    OnboardingRequest,
    Permission,
    PermissionResource,
)
from influxdb_client.rest import ApiException
from influxdb_client.service.authorizations_service import AuthorizationsService
from influxdb_client.service.buckets_service import BucketsService
from influxdb_client.service.setup_service import SetupService

from ingest.private_files import write_private
from ingest.store.influx_address import InfluxAddress, InfluxBuckets, read_address, render_address
from ingest.store.ports import StoreError, StoreRejectedError, StoreUnavailableError

_DAY_S = 86_400
_TIMEOUT_MS = 10_000
_PAGE = 100
OPERATOR = "operator"
Say = Callable[[str], None]


class Grant(NamedTuple):
    """What a service may read and write, by the names in `InfluxBuckets`."""

    read: tuple[str, ...]
    write: tuple[str, ...]


_ALL = ("facts", "published", "verdicts", "states")
#: The least that each needs. Ingest reads facts to find repeated readings, and verdicts for its journal's retention.
GRANTS: Mapping[str, Grant] = {
    "ingest": Grant(read=("facts", "verdicts"), write=("facts",)),
    "analytics": Grant(read=_ALL, write=("verdicts", "states")),
    "dashboards": Grant(read=_ALL, write=("published",)),
    "grafana": Grant(read=_ALL, write=()),
    "account": Grant(read=_ALL, write=()),
}
#: Legal records stay for ever, three years and a little for what they follow from, a season for the boards. [days]
KEEP_DAYS: Mapping[str, int] = {"facts": 1_100, "published": 1_100, "verdicts": 0, "states": 90}


@contextmanager
def _client(url: str, token: str, doing: str) -> Iterator[InfluxDBClient]:
    try:
        with InfluxDBClient(url, token=token, timeout=_TIMEOUT_MS) as client:
            yield client
    except ApiException as error:
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise StoreRejectedError(
                f"InfluxDB at {url}, {doing}: {error.status}: this token may not do it; give the operator token "
                "that the first set-up showed (`influx auth list` names it)"
            ) from error
        raise StoreRejectedError(f"InfluxDB at {url}, {doing}: {error.status}: {error.message}") from error
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise StoreUnavailableError(
            f"InfluxDB at {url} cannot be reached: {type(error).__name__}: {error}. Is it running there?"
        ) from error


def is_fresh(url: str) -> bool:
    """Whether a server was never set up.

    Raises
    ------
    StoreUnavailableError
        If it cannot be reached.
    """
    with _client(url, "", "asking whether it is set up") as client:
        return bool(SetupService(client.api_client).get_setup().allowed)


def set_up_first(url: str, *, org: str, folder: Path) -> str:
    """Set up a fresh server; its user, password and operator token are generated and written to `operator.toml`.

    Returns
    -------
    token : str
        The operator token.
    """
    password, token = secrets.token_urlsafe(24), secrets.token_urlsafe(48)
    path = folder / f"{OPERATOR}.toml"
    # Written first: a server that is set up with a password that nobody has is lost.
    _write_private(
        path,
        f'url = "{url}"\norg = "{org}"\nusername = "{OPERATOR}"\npassword = "{password}"\ntoken = "{token}"\n',
    )
    request = OnboardingRequest(
        username=OPERATOR,
        password=password,
        org=org,
        bucket=InfluxBuckets().facts,
        token=token,
        retention_period_seconds=KEEP_DAYS["facts"] * _DAY_S,
    )
    try:
        with _client(url, "", "setting it up") as client:
            SetupService(client.api_client).post_setup(request)
    except StoreRejectedError:
        path.unlink()
        raise
    return token


def prepare(
    url: str,
    *,
    org: str,
    token: str,
    folder: Path,
    buckets: InfluxBuckets | None = None,
    keep_days: Mapping[str, int] = KEEP_DAYS,
    rotate: bool = False,
    say: Say,
) -> int:
    """Make what is missing; returns how many things were changed.

    Parameters
    ----------
    url, org, token : str
        The server, the organisation to use or make, an operator token.
    folder : Path
        Where the address files go, readable by their owner only.
    buckets : InfluxBuckets, optional
        Names of the buckets.
    keep_days : mapping
        Retention of new buckets by name; 0: for ever. [days]
    rotate : bool
        Make new tokens, write them, and then delete the old ones.
    say : callable
        Takes a sentence on each thing.

    Raises
    ------
    StoreUnavailableError
        If the server cannot be reached.
    StoreRejectedError
        If the token may not do this.
    """
    names = buckets or InfluxBuckets()
    folder.mkdir(parents=True, exist_ok=True)
    with _client(url, token, "preparing it") as client:
        preparation = _Preparation(client, url, org, folder, names, say)
        preparation.make_org()
        for name in InfluxBuckets.__struct_fields__:
            preparation.make_bucket(getattr(names, name), keep_days[name])
        for service, grant in GRANTS.items():
            preparation.make_token(service, grant, rotate=rotate)
        return preparation.changes


class _Preparation:
    def __init__(
        self, client: InfluxDBClient, url: str, org: str, folder: Path, buckets: InfluxBuckets, say: Say
    ) -> None:
        self._client = client
        self._url = url
        self._org = org
        self._folder = folder
        self._buckets = buckets
        self._say = say
        self._org_id = ""
        self._bucket_ids: dict[str, str] = {}
        self.changes = 0

    def make_org(self) -> None:
        organizations = self._client.organizations_api()
        found = [one for one in organizations.find_organizations(limit=_PAGE) if one.name == self._org]
        if found:
            self._org_id = found[0].id
            self._say(f"organisation {self._org}: there")
            return
        self._org_id = organizations.create_organization(name=self._org).id
        self._changed(f"organisation {self._org}: made")

    def make_bucket(self, name: str, keep_days: int) -> None:
        found = [one for one in self._org_buckets() if one.name == name]
        wanted = "for ever" if keep_days == 0 else f"{keep_days} days"
        if found:
            self._bucket_ids[name] = found[0].id
            rules = found[0].retention_rules
            kept_s = rules[0].every_seconds if rules else 0
            if kept_s == keep_days * _DAY_S:
                self._say(f"bucket {name}: there, keeps {wanted}")
            else:
                kept = "for ever" if kept_s == 0 else f"{kept_s / _DAY_S:g} days"
                self._say(f"bucket {name}: there, keeps {kept} and not {wanted}; left as it is")
            return
        rules = [BucketRetentionRules(type="expire", every_seconds=keep_days * _DAY_S)] if keep_days else []
        made: Bucket = self._client.buckets_api().create_bucket(
            bucket_name=name, org=self._org_id, retention_rules=rules
        )
        self._bucket_ids[name] = made.id
        self._changed(f"bucket {name}: made, keeps {wanted}")

    def _org_buckets(self) -> list[Bucket]:
        service = BucketsService(self._client.api_client)
        found: list[Bucket] = []
        while True:
            page = service.get_buckets(org_id=self._org_id, limit=_PAGE, offset=len(found)).buckets
            found += page
            if len(page) < _PAGE:
                return found

    def make_token(self, service: str, grant: Grant, *, rotate: bool) -> None:
        description = f"poolwatch {service}"
        path = self._folder / f"{service}.toml"
        api = AuthorizationsService(self._client.api_client)
        of_service: list[Any] = [
            one
            for one in api.get_authorizations(org_id=self._org_id).authorizations
            if one.description == description
        ]
        wanted = self._permissions(grant)
        if not rotate and path.exists():
            held = read_address(path)
            for one in of_service:
                fits = one.token == held.token and _permitted(one.permissions) == _permitted(wanted)
                if fits and (held.url, held.org, held.buckets) == (self._url, self._org, self._buckets):
                    self._say(f"{path}: there, its token is in force")
                    return
        made: Authorization = self._client.authorizations_api().create_authorization(
            authorization=Authorization(org_id=self._org_id, description=description, permissions=wanted)
        )
        address = InfluxAddress(url=self._url, org=self._org, token=made.token, buckets=self._buckets)
        _write_private(path, render_address(address))
        for one in of_service:
            api.delete_authorizations_id(one.id)
        old = f"; {len(of_service)} old one(s) deleted" if of_service else ""
        may = f"reads {_listed(grant.read)}, writes {_listed(grant.write)}"
        self._changed(f"{path}: written with a new token, {may}{old}")

    def _permissions(self, grant: Grant) -> list[Permission]:
        return [
            Permission(
                action=action,
                resource=PermissionResource(
                    type="buckets", id=self._bucket_ids[getattr(self._buckets, name)], org_id=self._org_id
                ),
            )
            for action, names in (("read", grant.read), ("write", grant.write))
            for name in names
        ]

    def _changed(self, text: str) -> None:
        self.changes += 1
        self._say(text)


def _permitted(permissions: list[Permission]) -> set[tuple[str, str]]:
    return {(one.action, one.resource.id) for one in permissions}


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read; StoreError if that is not possible."""
    try:
        write_private(path, text)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error}") from error
