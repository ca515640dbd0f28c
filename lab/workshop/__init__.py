"""The workshop: the walk-through of `docs/walkthrough.md` on two hosts, typed by a learner or by the lab itself.

text.py      the page as data: parts, prose, what is typed where and what must come of it; pure
session.py   a shell on a host, on a terminal of its own
course.py    goes through the page, typing or letting type
judging.py   whether a command did what its step wants, and hints; pure
words.py     what is said to a learner, in each language; pure
bookmark.py  where a learner is, kept between classes
interrupts.py  what ^C means during a class
hosts.py     the two hosts, and the page in a language
hosts_process.py  the process that holds the two hosts while the workshop lasts
"""
