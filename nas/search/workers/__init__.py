"""Workers of one study: each proposes and scores; the storage is all they share.

`worker` is the loop, `trials` brings one trial to its end, `snapshot` reads the trials of a study. `coordination` is
what workers tell each other: nothing on a SQLite file, which has one worker. On a server, `claims` keeps two workers
from scoring the same architecture, and `heartbeats` finds out which workers died. `shares` does the same for a second
scoring of the front, and `owners` frees the trials of a process that is known to be dead.

`pool` starts worker processes on this machine and ends them, `watching` shows their progress and reports the dead, and
`child` is a worker's side of that.
"""
