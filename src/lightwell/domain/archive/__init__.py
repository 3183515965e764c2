"""The archive: every object kept byte for byte, found, and given back.

Owns studies, series, instances, their blobs, overlays, rejections, held and conflicting objects,
leases and storage commitment. Invariants (reliability contract 3.3):

I1  every acknowledged object is readable and its SHA-256 equals what the sender sent;
I2  every row has its blob; I3 every blob has a row, or is young, or is reported;
I4  counters equal a recount; I5 no instance is visible twice;
I6  every change has its audit record in the same transaction.

The original bytes never change. What is wrong with them is laid over them in versioned edits, and
every exit goes through `present`. Whoever wants in comes through `api.Archive`.
"""
