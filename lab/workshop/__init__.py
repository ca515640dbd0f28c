"""The workshop: the walk-through of `docs/walkthrough.md` on two hosts, typed by a learner or by the lab itself.

text.py     the page as data: parts, prose, what is typed where and what must come of it; pure
session.py  a shell on a host, on a terminal of its own
course.py   goes through the page, typing or letting type, and checks every command
hold.py     the process that holds the two hosts while the workshop lasts
"""
