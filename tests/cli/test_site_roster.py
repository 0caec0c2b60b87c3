"""What an operator is shown of a roster before signing it."""

from sealora.server.roster_book import RosterBook


def test_another_number_of_colluders_is_marked(partners, command):
    ams, *_ = partners.found("ams", "ber", "cph")
    RosterBook(partners.federation).propose(1)
    code, out, err = command("site", "roster", "review", partners.federation.draft_path, "--dir", ams.path)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Revision 1, 3 members, 1 colluders (was 0)"


def test_the_same_number_is_not(partners, command):
    ams, *_ = partners.found("ams", "ber", "cph")
    partners.member("dub")
    RosterBook(partners.federation).propose(None)
    _, out, _ = command("site", "roster", "review", partners.federation.draft_path, "--dir", ams.path)
    assert out.splitlines()[0] == "Revision 1, 4 members, 0 colluders"
