"""What `sealora site verify` says of files that hold more than their lines."""


def test_verify_tells_of_a_file_of_approvals_that_is_none(partners, command):
    site = partners.member("ams")
    site.approvals_path.write_bytes(b"approved: everything")
    code, out, _ = command("site", "verify", "--dir", site.path)
    assert code == 0
    assert "approvals.jsonl: 0 lines follow from one another; head -; then 20 bytes that are no line" in out
