"""What handlers may use, put together by the runtime room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from msgspec import Struct

from tallystick.services.access import Access
from tallystick.services.checks import Checks
from tallystick.services.contracts import Contracts, Pull
from tallystick.services.evidence import Evidences
from tallystick.services.evidence_bundle import Bundles
from tallystick.services.export import Export
from tallystick.services.export_jobs import ExportJobs
from tallystick.services.export_lines import LineExport
from tallystick.services.ingest import Ingest
from tallystick.services.instance_log import InstanceLog
from tallystick.services.keeping.desk import Desk
from tallystick.services.keys import Keys
from tallystick.services.log import Log
from tallystick.services.outside_health import OutsideHealth
from tallystick.services.own_log import OwnLog
from tallystick.services.packs.judge import Packs
from tallystick.services.people.directory import Directory
from tallystick.services.people.groups import Groups
from tallystick.services.people.members import Members
from tallystick.services.people.roles import Roles
from tallystick.services.people.workspaces import Workspaces
from tallystick.services.producers import Producers
from tallystick.services.projects import Projects
from tallystick.services.quarantine import Quarantine
from tallystick.services.read import Read
from tallystick.services.registered import Registered
from tallystick.services.saved_views import SavedViews
from tallystick.services.sign_in.account import Account
from tallystick.services.sign_in.links import Links
from tallystick.services.sign_in.providers import Providers
from tallystick.services.sign_in.sessions import Sessions
from tallystick.services.sign_in.sign_in import SignIn
from tallystick.services.sign_in.single_sign_on import SingleSignOn
from tallystick.services.switches import Switches
from tallystick.services.time_stamps import TimeStamps
from tallystick.services.viewers import Viewers
from tallystick.services.witnessing import Witnessing
from tallystick.web.attempts import FailedAttempts
from tallystick.web.body import Bodies
from tallystick.web.metrics import Metrics
from tallystick.web.origin import Address


class Readiness(Struct, frozen=True, kw_only=True):
    """One thing that must hold for the server to be of use, and what to do when it does not."""

    name: str
    ok: bool
    detail: str = ""


class Parts(Struct, frozen=True, kw_only=True):
    """The services, and the few things of this process that handlers need."""

    access: Access
    ingest: Ingest
    keys: Keys
    members: Members
    roles: Roles
    workspaces: Workspaces
    read: Read
    log: Log
    export: Export
    export_lines: LineExport
    export_jobs: ExportJobs
    bundles: Bundles
    packs: Packs
    switches: Switches
    registered: Registered
    quarantine: Quarantine
    contracts: Contracts
    pull: Pull
    evidence: Evidences
    checks: Checks
    projects: Projects
    saved_views: SavedViews
    producers: Producers
    directory: Directory
    groups: Groups
    keeping: Desk
    instance_log: InstanceLog
    witnessing: Witnessing
    time_stamps: TimeStamps
    outside: OutsideHealth
    own_log: OwnLog
    viewers: Viewers
    bodies: Bodies
    attempts: FailedAttempts
    metrics: Metrics
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    new_request_id: Callable[[], str]
    readiness: Callable[[], Awaitable[list[Readiness]]]
    stopping: Callable[[], bool]
    address: Address
    sessions: Sessions
    sign_in: SignIn
    links: Links
    account: Account
    single_sign_on: SingleSignOn
    providers: Providers
