"""Workers of one study: each proposes and scores; the storage is all they share.

`worker` is the loop, `trials` brings one trial to its end, `ledger` reads what a study holds. `claims` keeps two from
scoring the same architecture, `liveness` finds out who died, `patience` and `connection` outlive a database that is
away, and `storage` opens studies.
"""
