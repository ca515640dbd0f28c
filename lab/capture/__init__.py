"""Packets of a lab in files that Wireshark reads.

pcapng.py       the format
sniff.py        runs next to the interfaces of a host, and writes their packets
dissector.py    the Lua file by which Wireshark reads the overlay's protocol: tables, then dissector.lua
"""
