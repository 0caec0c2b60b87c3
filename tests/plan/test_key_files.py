"""Private keys: their owner's alone, opened by their passphrase alone, and never overwritten."""

import os
import stat

import pytest

from sealora.plan.key_files import (
    is_protected,
    plain_pem,
    read_identity,
    read_secret,
    read_tls_key,
    write_key,
)
from sealora.protocol.certificates import new_tls_key
from sealora.protocol.errors import UsageError
from sealora.protocol.keys import IdentityKey

IDENTITY, TLS = IdentityKey.generate(), new_tls_key()
SECRET = b"correct horse"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "key.pem"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o377])
def test_only_the_owner_reads_it_whatever_the_umask(path, umask):
    before = os.umask(umask)
    try:
        write_key(path, IDENTITY, None)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o610, 0o644, 0o777])
def test_a_wider_file_is_refused(path, mode):
    write_key(path, IDENTITY, None)
    path.chmod(mode)
    with pytest.raises(UsageError, match=rf"mode {mode:04o}\)\. Run chmod 600"):
        read_identity(path, None)
    path.chmod(0o400)
    assert read_identity(path, None).public == IDENTITY.public


@pytest.mark.parametrize("passphrase", [None, SECRET])
def test_keys_are_read_back(tmp_path, passphrase):
    write_key(tmp_path / "identity.pem", IDENTITY, passphrase)
    write_key(tmp_path / "tls.pem", TLS, passphrase)
    assert read_identity(tmp_path / "identity.pem", passphrase).secret == IDENTITY.secret
    assert plain_pem(read_tls_key(tmp_path / "tls.pem", passphrase)) == plain_pem(TLS)
    assert is_protected(tmp_path / "tls.pem") == (passphrase is not None)


def test_a_passphrase_protects(path):
    write_key(path, IDENTITY, SECRET)
    raw = path.read_bytes()
    assert b"ENCRYPTED" in raw
    assert IDENTITY.secret not in raw
    with pytest.raises(UsageError, match=r"protected by a passphrase.*SEALORA_PASSPHRASE"):
        read_identity(path, None)
    with pytest.raises(UsageError, match="the passphrase does not open it") as error:
        read_identity(path, b"wrong horse")
    assert "horse" not in str(error.value)


def test_a_passphrase_too_many_does_no_harm(path):
    write_key(path, IDENTITY, None)
    assert read_identity(path, SECRET).public == IDENTITY.public


def test_keys_are_never_overwritten(path):
    write_key(path, IDENTITY, None)
    with pytest.raises(UsageError, match="never overwritten"):
        write_key(path, IdentityKey.generate(), None)
    assert read_identity(path, None).public == IDENTITY.public


def test_a_key_of_the_other_kind(path):
    write_key(path, TLS, None)
    with pytest.raises(UsageError, match="no Ed25519 key"):
        read_identity(path, None)
    path.unlink()
    write_key(path, IDENTITY, None)
    with pytest.raises(UsageError, match="no ECDSA key"):
        read_tls_key(path, None)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_file(path, content):
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="it is damaged"):
        read_identity(path, None)


def test_a_file_that_is_absent_or_endless(path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_secret(path)
    path.write_bytes(b"x" * 20_000)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="too long"):
        read_secret(path)
