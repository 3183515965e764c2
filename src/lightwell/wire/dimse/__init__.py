"""The DICOM upper layer and DIMSE (PS3.7, PS3.8) as an engine without sockets.

* :mod:`~lightwell.wire.dimse.states`: the state table of PS3.8 section 9.2;
* :mod:`~lightwell.wire.dimse.items` and :mod:`~lightwell.wire.dimse.pdu`: the bytes of PDUs;
* :mod:`~lightwell.wire.dimse.commands` and :mod:`~lightwell.wire.dimse.status`: DIMSE messages;
* :mod:`~lightwell.wire.dimse.framing`: cutting messages into P-DATA-TF PDUs;
* :mod:`~lightwell.wire.dimse.negotiation` (by :mod:`~lightwell.wire.dimse.syntaxes`): which
  presentation contexts we take, and how;
* :mod:`~lightwell.wire.dimse.proposal`: which presentation contexts we ask for;
* :mod:`~lightwell.wire.dimse.contexts`: what both ends agreed on;
* :mod:`~lightwell.wire.dimse.incoming`: putting PDUs and messages together again;
* :mod:`~lightwell.wire.dimse.association`: the engine that ties them together, and
  :mod:`~lightwell.wire.dimse.events`, what it tells.

The engine owns framing, the order of messages and every limit on what a peer can make us hold. It
does not own time (the gateway arms the timers it is told about), sockets, or any meaning of a data
set: the bytes of a data set pass through as views of the caller's receive buffer.
"""
