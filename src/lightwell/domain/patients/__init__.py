"""Whose image is it: identity and its comparison (`clinical.md` 1).

A patient is (tenant, issuer, ID). An object without an issuer takes its sender's or its site's; with
neither, the ID belongs to that sender alone and never joins another's. Nothing here merges anybody:
it says whether two descriptions of a patient agree, differ or contradict each other.
"""
