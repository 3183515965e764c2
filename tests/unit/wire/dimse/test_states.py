"""The state table against its rules, and against the table of another implementation."""

from __future__ import annotations

import pytest
from pynetdicom.fsm import TRANSITION_TABLE

from lightwell.wire.dimse.states import IMPOSSIBLE, TABLE, Artim, Evt, State, transition


def test_every_cell_has_an_entry() -> None:
    assert len(TABLE) == len(State) * len(Evt) == 13 * 19
    assert all((state, event) in TABLE for state in State for event in Evt)


def test_the_table_is_the_one_pynetdicom_uses() -> None:
    ours = {
        (f"Evt{event.value}", f"Sta{state.value}"): cell.action.name.replace("-", "_")
        for (state, event), cell in TABLE.items()
        if cell is not IMPOSSIBLE
    }
    theirs = {key: name.replace("-", "_") for key, name in TRANSITION_TABLE.items()}
    assert ours == theirs


@pytest.mark.parametrize("state", [state for state in State if state is not State.Sta1])
def test_a_closed_transport_always_ends_in_idle(state: State) -> None:
    assert transition(state, Evt.TransportClosed).then == (State.Sta1,)


def test_closing_actions_and_idle_belong_together() -> None:
    for (_state, event), cell in TABLE.items():
        if cell.action.closes:
            assert cell.then == (State.Sta1,)
        elif State.Sta1 in cell.then:
            assert event is Evt.TransportClosed, "only the transport itself may end it otherwise"


def test_every_way_into_the_last_wait_leaves_artim_running() -> None:
    for (state, event), cell in TABLE.items():
        if State.Sta13 in cell.then and state is not State.Sta13 and cell.action.name != "AE-6":
            assert cell.action.artim is Artim.START, (state, event)


def test_an_invalid_pdu_never_keeps_an_association() -> None:
    answered = [state for state in State if transition(state, Evt.InvalidPDU) is not IMPOSSIBLE]
    assert answered == [state for state in State if state not in (State.Sta1, State.Sta4)]
    assert all(transition(state, Evt.InvalidPDU).then == (State.Sta13,) for state in answered)


def test_every_state_is_reachable() -> None:
    reached = {State.Sta1}
    while True:
        further = {
            then
            for (state, _event), cell in TABLE.items()
            if state in reached
            for then in cell.then
        } - reached
        if not further:
            break
        reached |= further
    assert reached == set(State)
