"""What policy is asked for each DIMSE operation that is served: the DICOM door's part of the matrix."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from lightwell.access.actions import Action
from lightwell.wire.dimse.commands import CommandField

ASKED: Final[Mapping[CommandField, Action]] = MappingProxyType(
    {
        CommandField.C_ECHO_RQ: Action.PEERS_PEER_ECHO,
        CommandField.C_STORE_RQ: Action.ARCHIVE_INSTANCE_STORE,
        CommandField.C_FIND_RQ: Action.ARCHIVE_STUDY_QUERY,
        CommandField.C_MOVE_RQ: Action.ARCHIVE_INSTANCE_RETRIEVE,
        CommandField.C_GET_RQ: Action.ARCHIVE_INSTANCE_RETRIEVE,
        CommandField.N_ACTION_RQ: Action.ARCHIVE_COMMITMENT_REQUEST,
    }
)
