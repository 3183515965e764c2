"""Files that come on media or in a folder: read, judged, reported, one line a file.

Folders, DICOMDIR media (read like any folder: what a directory lists is not trusted) and zip archives.
Names never become paths: an object is kept under the archive's own key, whatever its file was called.
"""
