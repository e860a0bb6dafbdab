"""Studies in a SQLite file or on a database server.

`studies` opens them; `address` reads what names a storage; `sqlite` and `server` are the two kinds of storage, and
`retrying` waits while a server is away; `contents` and `final_scores` read back what the search has written.
"""
