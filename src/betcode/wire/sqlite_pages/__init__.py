"""SQLite's file format, read page by page without SQLite: what is left when the database itself no longer opens.

Pure functions of bytes that raise nothing, whatever the bytes are. They judge nothing either: whether a record is whole
is for its own checksum to say. The format is public and frozen: https://www.sqlite.org/fileformat2.html
"""
