"""The inside of the archive: nobody outside `lightwell.domain.archive` imports from here."""
