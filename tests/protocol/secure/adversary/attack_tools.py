"""What several attacks of a malicious coordinator are made of.

An attack is a function of an attacker. It returns whether it succeeded, or raises what a site stops it with.
"""

from sealora.protocol.agreement import ADVERT, header_hash, sealing_data, sealing_key
from sealora.protocol.errors import ProtocolError
from sealora.protocol.keys import unseal
from sealora.protocol.messages import model_hash
from sealora.protocol.secure_answers import Advert

A, B, C, D, E, F, G = (f"site{number:04}" for number in range(7))
LOW_ORDER = bytes(32)


def other_model(cohort, **changes):
    """An opening of another model than `cohort.opening` gives."""
    return cohort.opening(tensors=b"other", model_hash=model_hash(b"other", ("a",)), **changes)


def forged_advert(session, site, signer, share_key, mask_key):
    """Keys in a site's name, signed by somebody."""
    about = header_hash(session.opening.header)
    keys = share_key.public, mask_key.public
    return Advert(about, *keys, signer.sign(ADVERT, about, site.encode(), *keys))


def opens(sealed, key, session, sender, recipient):
    """Whether the attacker can read what a sender sealed, given the secret that the two share."""
    ends = sender, recipient
    name = session.agreement.name
    try:
        return len(unseal(sealing_key(key, name, *ends), sealed, sealing_data(name, *ends))) == 66
    except ProtocolError:
        return False
