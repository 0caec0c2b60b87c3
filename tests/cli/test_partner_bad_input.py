"""The rows of docs/bad-input.md about partner sites, staged through the real entry point."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from sealora.client import enrolment
from sealora.protocol.draft import Draft
from sealora.protocol.enrolment import Approval, dump
from sealora.protocol.keys import IdentityKey
from sealora.protocol.roster import genesis
from sealora.server import authority
from sealora.server.roster_book import RosterBook

DOCUMENT = Path(__file__).parents[2] / "docs" / "bad-input.md"
TEXT = DOCUMENT.read_text("utf-8").partition("\n## Partner sites\n")[2].partition("\n## ")[0]
ROW = re.compile(r"^\| (.+?) \| `{1,2}(.+?)`{1,2} \| (\d+) \|$", re.MULTILINE)
TABLE = {case: (message, int(code)) for case, message, code in ROW.findall(TEXT)}
STAGES = {}


def stage(case):
    """Registers a function that prepares a case and returns the arguments of the command."""

    def register(function):
        STAGES[case] = function
        return function

    return register


@pytest.fixture
def scene(partners, tmp_path, monkeypatch):
    class Scene:
        folder = tmp_path
        server = tmp_path / "server"
        patch = monkeypatch

        def write(self, name, content):
            path = tmp_path / name
            path.write_bytes(content)
            return path

        def enrol(self, path):
            return ["server", "enrol", path, "--dir", self.server, "--yes"]

        def join(self, site, bundle):
            path = self.write("the.bundle.json", dump(bundle))
            return ["site", "join", path, "--dir", site.path, "--yes"]

        def edited(self, path, **changes):
            return self.write("other.json", json.dumps({**json.loads(path.read_bytes()), **changes}).encode())

        def policy(self, site, old, new):
            text = site.settings_path.read_text()
            site.settings_path.write_text(text.replace(old, new))
            return ["site", "review", tmp_path / "plan.toml", "--dir", site.path]

        def plan(self):
            return self.write("plan.toml", b'schema = 1\nmodel.name = "m"\ntask.labels = ["a", "b"]\n')

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    Scene.partners = partners
    return Scene()


def change(scene):
    """A roster in force that ams follows, and one that continues it; returns ams and the old bytes."""
    ams, ber, _ = scene.partners.found("ams", "ber", "cph")
    old = scene.partners.federation.roster_path.read_bytes()
    scene.partners.member("dub")
    book = RosterBook(scene.partners.federation)
    return ams, ber, old, book, book.propose(None)


@stage("a name that is no name")
def _(scene):
    return ["site", "init", scene.folder / "new", "--name", "St Mary"]


@stage("an address that is none")
def _(scene):
    return ["server", "init", scene.folder / "new", "--name", "stroke", "--address", "localhost"]


@stage("a folder that holds something")
def _(scene):
    return ["site", "init", scene.folder, "--name", "ams"]


@stage("a folder without a site")
def _(scene):
    return ["site", "log", "--dir", scene.folder]


@stage("a folder without a federation")
def _(scene):
    return ["server", "sites", "--dir", scene.folder]


@stage("a key that others can read")
def _(scene):
    ams = scene.partners.site("ams")
    ams.identity_path.chmod(0o640)
    return ["site", "renew", "--dir", ams.path]


@stage("a request that is not there")
def _(scene):
    return scene.enrol(scene.folder / "none.json")


@stage("a file that is no request")
def _(scene):
    return scene.enrol(scene.write("note.json", b'{"hello": 1}'))


@stage("a request that was changed")
def _(scene):
    return scene.enrol(scene.edited(scene.partners.site("ams").request_path, name="ber"))


@stage("a request under a name that is taken")
def _(scene):
    scene.partners.member("ams")
    return scene.enrol(enrolment.create(scene.folder / "twin", "ams", None).request_path)


@stage("a request with a revoked key")
def _(scene):
    ams = scene.partners.member("ams")
    authority.revoke(scene.partners.federation, "ams")
    return scene.enrol(ams.request_path)


@stage("words that nobody compared")
def _(scene):
    return scene.enrol(scene.partners.site("ams").request_path)[:-1]


@stage("a bundle that was changed")
def _(scene):
    ams = scene.partners.site("ams")
    return scene.join(ams, scene.partners.enrol(ams).model_copy(update={"address": "evil.example.org:1"}))


@stage("a bundle for another site")
def _(scene):
    return scene.join(scene.partners.site("ams"), scene.partners.enrol(scene.partners.site("ber")))


@stage("a bundle of another federation")
def _(scene):
    partners = scene.partners
    ams = partners.member("ams")
    partners.federation = authority.create(
        scene.folder / "other", "stroke", "localhost:8443", None, partners.now
    )
    return scene.join(ams, partners.enrol(ams))


@stage("a bundle that expired")
def _(scene):
    ams = scene.partners.site("ams")
    later = scene.partners.now + timedelta(days=8)
    scene.patch.setattr("sealora.cli.site_keys.utc_now", lambda: later)
    return scene.join(ams, scene.partners.enrol(ams, days=7))


@stage("a roster before joining")
def _(scene):
    ams, ber = scene.partners.site("ams"), scene.partners.member("ber")
    draft = RosterBook(scene.partners.federation).propose(0)
    assert ber.name in draft.electorate
    return ["site", "roster", "review", scene.partners.federation.draft_path, "--dir", ams.path]


@stage("a roster without its quorum")
def _(scene):
    ams, ber, _, book, draft = change(scene)
    book.collect(scene.partners.sign(draft, ber))
    return ["site", "roster", "accept", scene.partners.federation.draft_path, "--dir", ams.path, "--yes"]


@stage("a roster that goes back")
def _(scene):
    ams, ber, old, book, draft = change(scene)
    book.collect(scene.partners.sign(draft, ams, ber))
    from sealora.client.pinned_roster import PinnedRoster

    federation = scene.partners.federation
    PinnedRoster(ams).follow(federation.roster_path.read_bytes(), federation.public)
    return ["site", "roster", "accept", scene.write("roster.jsonl", old), "--dir", ams.path, "--yes"]


@stage("a roster that was changed")
def _(scene):
    ams, _, old, _, _ = change(scene)
    path = scene.write("roster.jsonl", old.replace(b'"colluders":0', b'"colluders":1'))
    return ["site", "roster", "accept", path, "--dir", ams.path, "--yes"]


@stage("a draft with another key in this site's name")
def _(scene):
    ams, federation = scene.partners.member("ams"), scene.partners.federation
    draft = Draft(None, genesis({"ams": IdentityKey.generate().public}, federation.public, 0))
    path = scene.write("draft.jsonl", draft.serialise())
    return ["site", "roster", "sign", path, "--dir", ams.path, "--yes"]


@stage("a draft whose names would write other lines")
def _(scene):
    ams, federation = scene.partners.member("ams"), scene.partners.federation
    forged = "ber: one two three four\n  cph\x1b[2K"
    members = {"ams": ams.public, forged: IdentityKey.generate().public}
    path = scene.write("draft.jsonl", genesis(members, federation.public, 0).serialise())
    return ["site", "roster", "review", path, "--dir", ams.path]


@stage("an approval of another draft")
def _(scene):
    ams = scene.partners.member("ams")
    draft = RosterBook(scene.partners.federation).propose(0)
    approval = Approval.make("ams", ams.identity(None), draft.revision)
    scene.partners.member("ber")
    RosterBook(scene.partners.federation).propose(0)
    path = scene.write("ams.approval.json", dump(approval))
    return ["server", "roster", "collect", path, "--dir", scene.server]


@stage("nobody to propose")
def _(scene):
    return ["server", "roster", "propose", "--dir", scene.server]


@stage("a site to revoke that is none")
def _(scene):
    scene.partners.member("ams")
    return ["server", "revoke", "zrh", "--dir", scene.server]


@stage("a policy with a mistake")
def _(scene):
    scene.plan()
    return scene.policy(scene.partners.site("ams"), "cohort =", "cohorts =")


@stage("a policy with a time that is none")
def _(scene):
    scene.plan()
    return scene.policy(scene.partners.site("ams"), "hours = []", 'hours = ["8-17"]')


@stage("an approval to take back that is none")
def _(scene):
    return ["site", "approve", scene.plan(), "--dir", scene.partners.site("ams").path, "--withdraw"]


@stage("a log that was changed")
def _(scene):
    ams = scene.partners.member("ams")
    ams.audit_path.write_bytes(ams.audit_path.read_bytes().replace(b"keys made", b"keys lost"))
    return ["site", "egress", "--dir", ams.path]


@stage("a socket in the place of a file")
def _(scene):
    place = scene.write("records.csv", b"text,label\n")
    return ["site", "agent", scene.plan(), "--dir", scene.partners.member("ams").path, "--socket", place]


@stage("a status that is damaged")
def _(scene):
    return ["server", "status", scene.write("status.json", b"[]").parent]


def test_the_document_and_the_cases_agree():
    assert set(STAGES) == set(TABLE)
    assert len(TABLE) > 25


@pytest.mark.parametrize("case", STAGES)
def test_bad_input_is_one_clear_line(scene, command, case):
    message, code = TABLE[case]
    ended, out, err = command(*STAGES[case](scene))
    assert (ended, out) == (code, ""), err
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert errors == err.splitlines()[-1:]
    assert re.fullmatch(".*".join(map(re.escape, message.split("…"))), errors[0]), errors[0]
