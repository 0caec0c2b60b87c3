"""Entities against seqeval's, in both of its modes."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Tokens

from sealora.models.tags import OUTSIDE, SCHEMES, Entity, Tag, entities, strict_entities

THEIRS = {"iob1": IOB1, "iob2": IOB2, "bioes": IOBES, "bilou": BILOU}
TYPES = ("PER", "LOC")


def sequences(scheme):
    """Any tags of a scheme in a row, whether it allows them or not; long runs of one type are likely."""
    few = st.sampled_from([name for name in SCHEMES[scheme].tags(TYPES) if not name.endswith("LOC")])
    many = st.sampled_from(list(SCHEMES[scheme].tags(TYPES)))
    return st.lists(few, max_size=12) | st.lists(many, max_size=12)


def read(names, scheme):
    known = SCHEMES[scheme].tags(TYPES)
    return [known[name] for name in names]


@pytest.mark.parametrize("scheme", THEIRS)
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_strict_entities_are_seqevals(scheme, data):
    names = data.draw(sequences(scheme))
    ours = strict_entities(read(names, scheme), SCHEMES[scheme])
    assert ours == [(e.tag, e.start, e.end) for e in Tokens(names, THEIRS[scheme]).entities]


@pytest.mark.parametrize("scheme", ["iob1", "iob2", "bioes"])
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_entities_are_those_of_conlleval(scheme, data):
    names = data.draw(sequences(scheme))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = [(name, first, last + 1) for name, first, last in get_entities(names)]
    assert entities(read(names, scheme)) == theirs


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_scheme_writes_it_reads_both_ways(scheme):
    written = {
        "iob1": "I-PER I-PER B-PER O I-LOC I-PER",
        "iob2": "B-PER I-PER B-PER O B-LOC B-PER",
        "bioes": "B-PER E-PER S-PER O S-LOC S-PER",
        "bmes": "B-PER E-PER S-PER O S-LOC S-PER",
        "bilou": "B-PER L-PER U-PER O U-LOC U-PER",
    }
    expected = [Entity("PER", 0, 2), Entity("PER", 2, 3), Entity("LOC", 4, 5), Entity("PER", 5, 6)]
    tags = read(written[scheme].split(), scheme)
    assert entities(tags) == strict_entities(tags, SCHEMES[scheme]) == expected


def test_only_the_lenient_reading_takes_what_has_no_end_or_beginning():
    tags = [Tag("B", "PER"), Tag("I", "PER"), OUTSIDE, Tag("I", "LOC"), Tag("E", "LOC")]
    assert entities(tags) == [("PER", 0, 2), ("LOC", 3, 5)]
    assert strict_entities(tags, SCHEMES["bmes"]) == []


def test_the_tags_of_a_scheme_begin_with_outside():
    assert list(SCHEMES["bmes"].tags(["PER"])) == ["O", "B-PER", "M-PER", "E-PER", "S-PER"]
    assert SCHEMES["bmes"].tags(["PER"])["M-PER"] == Tag("I", "PER")
    assert list(SCHEMES["iob2"].tags(TYPES)) == ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_words_have_no_entities(scheme):
    assert entities([]) == strict_entities([], SCHEMES[scheme]) == []
