"""Tries of every command with odd values of every option and of every key of every file, each in a process of its own.

`world` makes the files that commands read, `bases` says with what commands work, `values` what is tried, `targets`
finds what there is to try it on, and `tries` runs a try and judges it. Options and keys are found by introspection: a
new one is tried by itself.
"""
