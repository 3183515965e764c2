"""What the DICOM standard says, in pure Python: no sockets, no files, no clock.

Owns the header scanner, DICOM JSON, transfer syntaxes, character sets, Part 10 heads, frame indexes
and the re-encoder. Reads bytes that a stranger sent: everything is iterative, bounded by `Limits`,
and fails only with a `DicomError`. Validity is not a gate: what is readable is read, and what is wrong
with it becomes a `Defect` on the result. Refuses: pixel decoding (backends/codecs) and any opinion
about patients or studies (domain rooms).

Spelling follows the standard (`StudyInstanceUID`); citations mean PS3.x edition 2026b.
"""
