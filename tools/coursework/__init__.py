"""Grading of the coursework: student code runs in a sandbox, the tests outside it.

From a submission only the solution cells, the answers and the cells that the student added are taken (`notebooks`).
They run in a process that can do no harm (`sandbox`, `worker`). Tests run in a trusted process in which the student's
functions are proxies (`remote`): a call sends plain data and brings plain data back (`protocol`), which is checked.
`run` grades one submission, `intake` finds the submissions, `batch` grades them all; `python -m coursework` (with
tools/ on the path) is the command.
"""
