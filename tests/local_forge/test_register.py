"""Numbers: once and for ever, whatever happens to branches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stager.forges.local.register import (
    LONGEST_TITLE,
    Register,
    Tip,
    closing,
    read,
    reconciled,
    recovered,
    tips_of,
    write,
)

shas = st.sampled_from(["a" * 40, "b" * 40, "c" * 40])
branches = st.sampled_from(["main", "x", "y", "z"])
states = st.lists(st.dictionaries(branches, shas), max_size=8)


def refs(state: dict[str, str]) -> dict[str, Tip]:
    return {f"refs/heads/{branch}": Tip(sha, "Olga", "A change") for branch, sha in state.items()}


def follow(register: Register, state: dict[str, str], now: int = 1000) -> Register:
    return reconciled(register, refs(state), default="main", merged=(), now=now)


@given(states)
def test_a_branch_keeps_its_number_and_no_other_gets_it(history: list[dict[str, str]]) -> None:
    register, seen = Register(1, ()), dict[str, int]()
    for state in history:
        register = follow(register, state)
        for entry in register.changes:
            assert seen.setdefault(entry.branch, entry.number) == entry.number
        assert len(set(seen.values())) == len(seen)
        assert {e.branch: e.head for e in register.changes if e.is_open} == {
            branch: sha for branch, sha in state.items() if branch != "main"
        }


@given(states)
def test_no_two_states_have_the_same_stamp(history: list[dict[str, str]]) -> None:
    register = Register(1, ())
    for state in history:
        after = follow(register, state)
        before = register.by_branch
        for entry in after.changes:
            known = before.get(entry.branch)
            assert known is None or entry == known or entry.updated_at > known.updated_at
        register = after


@given(states)
def test_what_hasnt_changed_isnt_touched(history: list[dict[str, str]]) -> None:
    register = Register(1, ())
    for state in history:
        register = follow(register, state)
        assert follow(register, state, now=2000) == register
        assert closing(register, refs(state), "main") == []
        assert read(write(register)) == register


@given(states)
def test_a_lost_register_gives_no_number_twice(history: list[dict[str, str]]) -> None:
    register = Register(1, ())
    for state in history:
        register = follow(register, state)
    pulls = {ref: Tip(sha) for ref, sha in register.refs.items()}
    again = follow(recovered(refs(history[-1] if history else {}) | pulls), history[-1] if history else {})

    numbers = [entry.number for entry in again.changes]
    assert len(set(numbers)) == len(numbers)
    assert again.next >= register.next
    taken = {(entry.number, entry.head) for entry in register.changes}
    assert all((e.number, e.head) in taken or e.number >= register.next for e in again.changes)


def test_the_default_branch_may_become_another() -> None:
    register = follow(Register(1, ()), {"main": "a" * 40, "x": "b" * 40})
    after = reconciled(
        register, refs({"main": "a" * 40, "x": "b" * 40}), default="x", merged={1}, now=2000
    ).by_branch
    assert (after["x"].is_open, after["main"].base, after["main"].number) == (False, "x", 2)


def test_what_isnt_a_register() -> None:
    assert read(b"") is None
    assert read(b'{"next": "soon"}') is None
    assert read(b"{}") is None
    assert read(b'{"next": 3}') is None


def test_titles_are_of_bounded_length() -> None:
    [tip] = tips_of(["refs/heads/x\0sha\0Olga\0" + "x" * 1000, "strange"]).values()
    assert len(tip.title) == LONGEST_TITLE
