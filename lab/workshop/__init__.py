"""The workshop: the walk-through of `docs/walkthrough.md` on two hosts, typed by a learner or by the lab itself.

text.py      the page as data: parts, prose, commands with their hosts and expected results; pure session.py   a shell
on a host, in its own terminal course.py    goes through the page, typing or letting type judging.py   whether a command
did what its step requires, and hints; pure words.py     the sentences for a learner, in each language; pure bookmark.py
a learner's place, kept between classes interrupts.py  the handling of ^C during a class hosts.py     the two hosts, and
the page in a language hosts_process.py  the process that holds the two hosts during the workshop
"""
