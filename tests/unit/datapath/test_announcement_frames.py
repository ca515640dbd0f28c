"""The frames that correct neighbour caches, byte for byte as RFC 5227 and RFC 4861 have them."""

from overlay.datapath.announcement import announcement
from overlay.datapath.inner import ones_sum

MAC = "02:00:0a:00:01:01"
HARDWARE = bytes.fromhex("02000a000101")


def test_a_gratuitous_arp_request_names_the_address_as_sender_and_target():
    frame = announcement("10.0.1.1", MAC)
    ethernet = b"\xff" * 6 + HARDWARE + b"\x08\x06"
    assert frame == ethernet + bytes.fromhex("0001080006040001") + HARDWARE + b"\n\0\1\1" + bytes(6) + b"\n\0\1\1"


def test_an_unsolicited_advertisement_overrides_and_has_a_right_checksum():
    frame = announcement("fd00::1", MAC)
    address = bytes.fromhex("fd00" + "00" * 13 + "01")
    assert frame[:14] == bytes.fromhex("333300000001") + HARDWARE + b"\x86\xdd"
    header, body = frame[14:54], frame[54:]
    assert header[:8] == bytes.fromhex("60000000") + len(body).to_bytes(2, "big") + bytes((58, 255))
    assert header[8:24] == address and header[24:] == bytes.fromhex("ff02" + "00" * 13 + "01")
    assert body[:2] == b"\x88\x00" and body[4:8] == b"\x20\0\0\0"  # not solicited, from no router, overrides
    assert body[8:24] == address and body[24:] == b"\x02\x01" + HARDWARE
    assert ones_sum(header[8:] + len(body).to_bytes(4, "big") + bytes((0, 0, 0, 58)) + body) == 0
