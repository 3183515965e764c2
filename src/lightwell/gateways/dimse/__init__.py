"""The DIMSE door: DICOM associations in and out, over plain TCP and TLS.

A process has one event loop, which owns the rooms and the committer, and one thread an association,
which owns a socket and an engine of :mod:`lightwell.wire.dimse`. A thread receives and stages; what
a room decides, it decides on the loop. Nothing here looks into a data set further than its protocol
asks (an identifier, the syntax an object leaves in); policy and clinical rules live in the rooms.
"""
