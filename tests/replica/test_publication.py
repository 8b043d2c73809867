from hypothesis import given
from hypothesis import strategies as st

from colonnade.replica.publication import Publication
from colonnade.wire.messages import CacheChanged, Envelope, Load, LoadChanged, Phase, Removed, Snapshot, Stored


def apply(start: Snapshot, envelopes: list[Envelope]) -> Snapshot:
    """What a subscriber makes of a snapshot and the envelopes after it."""
    phase, load, cache, seq = start.phase, start.load, {each.digest: each for each in start.cache}, start.seq
    for envelope in envelopes:
        if envelope.seq <= start.seq:
            continue
        assert envelope.seq == seq + 1
        seq = envelope.seq
        match envelope.event:
            case Phase(name=name):
                phase = name
            case LoadChanged(load=new):
                load = new
            case CacheChanged(changes=changes):
                for change in changes:
                    if isinstance(change, Stored):
                        cache[change.digest] = change
                    else:
                        cache.pop(change.digest, None)
    return Snapshot(start.epoch, seq, phase, load, list(cache.values()))


CHANGE = st.builds(Stored, st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 3)) | st.builds(
    Removed, st.sampled_from([b"a", b"b", b"c"])
)
STEP = st.tuples(st.builds(Load, running=st.integers(0, 2)), st.lists(CHANGE, max_size=3), st.sampled_from("-fps"))


@given(st.lists(STEP, max_size=20))
def test_events_after_a_snapshot_add_up_to_the_next(steps: list[tuple[Load, list[Stored | Removed], str]]):
    publication = Publication("e")
    told: list[Envelope] = []
    snapshots = [publication.snapshot()]
    for load, changes, action in steps:
        publication.note(load, changes)
        if action == "p":
            told += publication.turn(Phase("ready"))
        elif action in "fs":
            told += publication.flush()
        if action == "s":
            snapshots.append(publication.snapshot())
    told += publication.flush()
    last = publication.snapshot()
    assert [envelope.seq for envelope in told] == list(range(1, len(told) + 1))
    for snapshot in snapshots:
        assert apply(snapshot, told) == last


def test_load_is_told_once_however_often_it_changes():
    publication = Publication("e")
    for running in range(5):
        publication.note(Load(running=running), [])
    assert publication.flush() == [Envelope("e", 1, LoadChanged(Load(running=4)))]
    assert publication.flush() == []
    assert not publication.pending
