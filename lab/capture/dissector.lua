-- Wireshark dissector of the overlay's wire (docs/wire.md). `lab capture --dissector` prints it whole.
--
-- Owns how MessagePack, frames, tunnel packets and probes are read and shown. Must not know a struct: those are in the
-- tables that lab/capture/dissector.py puts above. It runs in Wireshark 4.0 and later (Lua 5.2
-- to 5.4), so no operators of 5.3. What it reads is hostile: every read is bounded, and a message shows at most ITEMS
-- values.

local ITEMS = 20000
local DEEPEST = 32
local HEAD = 4
local TAG = 16

local proto = Proto("overlay", "Overlay mesh")
local udp = Proto("overlay_udp", "Overlay datagram")
local probe = Proto("overlay_probe", "Overlay probe")

local F = {}
local known = {}
local function field(make, id, name, ...)
    F[id] = make("overlay." .. id, name, ...)
    known[#known + 1] = F[id]
end

field(ProtoField.uint32, "frame.length", "Length", base.DEC)
field(ProtoField.string, "first.magic", "Magic")
field(ProtoField.uint8, "first.lowest", "Lowest version", base.DEC)
field(ProtoField.uint8, "first.highest", "Highest version", base.DEC)
field(ProtoField.uint32, "sealed.length", "Length of the message", base.DEC)
field(ProtoField.bytes, "sealed.content", "Ciphertext (AES-256-GCM)")
field(ProtoField.bytes, "sealed.tag", "Tag")
field(ProtoField.bytes, "datagram.magic", "Magic")
field(ProtoField.uint8, "tunnel.first", "Kind and flags", base.HEX)
field(ProtoField.uint8, "tunnel.kind", "Kind", base.DEC, {[0] = "unicast", "flood", "probe", "answer"}, 0x03)
field(ProtoField.bool, "tunnel.partial", "Partial: checksum to be completed", 8, nil, 0x04)
field(ProtoField.bool, "tunnel.pass_on", "Pass on", 8, nil, 0x08)
field(ProtoField.bool, "tunnel.packed", "Packed: several frames", 8, nil, 0x20)
field(ProtoField.bool, "tunnel.sealed", "Sealed", 8, nil, 0x40)
field(ProtoField.uint8, "tunnel.ttl", "TTL", base.DEC)
field(ProtoField.uint32, "tunnel.tag", "Connection (low 32 bits)", base.HEX)
field(ProtoField.bytes, "tunnel.source", "Source peer")
field(ProtoField.bytes, "tunnel.destination", "Destination peer")
field(ProtoField.uint64, "tunnel.flood", "Number of the flood", base.DEC)
field(ProtoField.uint16, "tunnel.epoch", "Epoch (low 16 bits)", base.DEC)
field(ProtoField.uint64, "tunnel.sequence", "Sequence number", base.DEC)
field(ProtoField.uint16, "tunnel.frame", "Length of the frame", base.DEC, nil, 0x7fff)
field(ProtoField.bool, "tunnel.frame_partial", "Partial", 16, nil, 0x8000)
field(ProtoField.uint8, "probe.answer", "Answer", base.DEC, {[0] = "probe", "answer"})
field(ProtoField.uint64, "probe.nonce", "Nonce", base.HEX)
field(ProtoField.uint16, "probe.size", "Size", base.DEC)
field(ProtoField.string, "probe.sender", "Sender")
field(ProtoField.bytes, "probe.padding", "Padding")

local function declare(prefix, one)
    if one.kind == "list" then
        declare(prefix, one.item)
    elseif one.kind == "tuple" then
        for number, item in ipairs(one.items) do declare(prefix .. "." .. one.names[number], item) end
    elseif one.kind == "int" then
        field(ProtoField.uint64, prefix, prefix:match("[^.]*$"), one.hex and base.HEX or base.DEC)
        one.id, one.low, one.high = prefix, one.low and UInt64.fromhex(one.low), one.high and UInt64.fromhex(one.high)
    elseif one.kind ~= "choice" then
        local makers = {str = ProtoField.string, bin = ProtoField.bytes, bool = ProtoField.bool}
        field(makers[one.kind], prefix, prefix:match("[^.]*$"))
        one.id = prefix
    end
end
for _, name in ipairs(ORDER) do
    field(ProtoField.none, name:lower(), name)
    for _, each in ipairs(STRUCTS[name].fields) do declare(name:lower() .. "." .. each.name, each.type) end
end
proto.fields = known

local broken = ProtoExpert.new("overlay.broken", "Not as docs/wire.md has it", expert.group.PROTOCOL, expert.severity.ERROR)
local dark = ProtoExpert.new(
    "overlay.dark", "Sealed, as it seems: the capture has not the beginning of this connection",
    expert.group.UNDECODED, expert.severity.NOTE)
proto.experts = {broken, dark}

-- MessagePack -------------------------------------------------------------------------------------------------------

local function fail(text) error({text = text}, 0) end

local function need(tvb, at, count)
    if count < 0 or at + count > tvb:len() then fail("ends within a value, at byte " .. at) end
end

local FIXED = { -- first byte: kind, bytes of value or of length
    [0xc4] = {"bin", 1}, [0xc5] = {"bin", 2}, [0xc6] = {"bin", 4}, [0xd9] = {"str", 1}, [0xda] = {"str", 2},
    [0xdb] = {"str", 4}, [0xdc] = {"array", 2}, [0xdd] = {"array", 4}, [0xde] = {"map", 2}, [0xdf] = {"map", 4},
    [0xcc] = {"int", 1}, [0xcd] = {"int", 2}, [0xce] = {"int", 4}, [0xcf] = {"int", 8},
    [0xd0] = {"signed", 1}, [0xd1] = {"signed", 2}, [0xd2] = {"signed", 4}, [0xd3] = {"signed", 8},
    [0xca] = {"float", 4}, [0xcb] = {"float", 8}, [0xc7] = {"ext", 1}, [0xc8] = {"ext", 2}, [0xc9] = {"ext", 4},
}

-- Kind, where the value starts, its size: bytes, or the number of elements.
local function head(tvb, at)
    need(tvb, at, 1)
    local b = tvb(at, 1):uint()
    if b < 0x80 then return "int", at, 1 end
    if b < 0x90 then return "map", at + 1, b - 0x80 end
    if b < 0xa0 then return "array", at + 1, b - 0x90 end
    if b < 0xc0 then need(tvb, at + 1, b - 0xa0) return "str", at + 1, b - 0xa0 end
    if b == 0xc0 then return "nil", at + 1, 0 end
    if b == 0xc2 or b == 0xc3 then return "bool", at, 1 end
    if b >= 0xe0 then return "negative", at, 1 end
    if b >= 0xd4 and b <= 0xd8 then need(tvb, at + 1, 1 + 2 ^ (b - 0xd4)) return "ext", at + 1, 1 + 2 ^ (b - 0xd4) end
    local kind = FIXED[b] or fail("byte " .. at .. " is no MessagePack")
    need(tvb, at + 1, kind[2])
    if kind[1] == "int" or kind[1] == "float" then return kind[1], at + 1, kind[2] end
    if kind[1] == "signed" then
        return tvb(at + 1, 1):uint() >= 0x80 and "negative" or "int", at + 1, kind[2]
    end
    local size = tvb(at + 1, kind[2]):uint()
    local start = at + 1 + kind[2]
    if kind[1] == "ext" then size = size + 1 end
    if kind[1] ~= "array" and kind[1] ~= "map" then need(tvb, start, size) end
    return kind[1], start, size
end

-- The end of a value of any kind: fields of later versions.
local function skip(tvb, at, deep)
    if deep > DEEPEST then fail("nested too deep") end
    local kind, start, size = head(tvb, at)
    if kind ~= "array" and kind ~= "map" then return start + size end
    for _ = 1, kind == "map" and 2 * size or size do start = skip(tvb, start, deep + 1) end
    return start
end

local function tag_of(tvb, at)
    local kind, start, size = head(tvb, at)
    if kind ~= "array" or size == 0 then return nil end
    local first, value, width = head(tvb, start)
    if first ~= "int" or width > 4 then return nil end
    return tvb(value, width):uint()
end

-- Messages ----------------------------------------------------------------------------------------------------------

local read_struct

-- Reads a value of a type and shows it under `tree` (nil: only checks). `told` counts what is shown, and collects
-- what the line of the packet says. Returns where the value ends.
local function read(one, label, tvb, at, tree, told)
    if tree then
        told.items = told.items + 1
        if told.items > ITEMS then error({full = true}, 0) end
    end
    local kind, start, size = head(tvb, at)
    if one.kind == "choice" then
        if kind == "nil" and one.null then
            if tree then tree:add(tvb(at, 1), label .. ": none") end
            return start
        end
        local name = one.plain or one.tags[tag_of(tvb, at) or -1]
        if not name then fail(label .. ": no such struct here, at byte " .. at) end
        if told.body == nil and label == "body" then told.body = name end
        return read_struct(name, label, tvb, at, tree, told)
    end
    if one.kind == "list" or one.kind == "tuple" then
        if kind ~= "array" then fail(label .. ": no array, at byte " .. at) end
        if one.kind == "tuple" and size ~= #one.items then fail(label .. ": " .. size .. " elements") end
        if one.most and size > one.most then fail(label .. ": " .. size .. " elements, at most " .. one.most) end
        local below = tree and tree:add(tvb(at, 1), one.kind == "tuple" and label or label .. ": " .. size)
        for number = 1, size do
            if one.kind == "tuple" then
                start = read(one.items[number], one.names[number], tvb, start, below, told)
            else
                start = read(one.item, label, tvb, start, below, told)
            end
        end
        if below then below:set_len(start - at) end
        return start
    end
    if one.kind == "int" and kind == "negative" and not one.low then
        if tree then tree:add(tvb(start, size), label .. ": " .. tostring(tvb(start, size):int64())) end
        return start + size
    end
    if one.kind ~= kind then fail(label .. ": " .. kind .. " instead of " .. one.kind .. ", at byte " .. at) end
    local range = size > 0 and tvb(start, size)
    local value
    if kind == "int" then
        value = range:uint64()
        if (one.low and value < one.low) or (one.high and value > one.high) then
            fail(label .. ": " .. tostring(value) .. " is out of bounds")
        end
    elseif kind == "bool" then
        value = range:uint() == 0xc3
    else
        local length = size
        if kind == "str" then
            value = range and range:string(ENC_UTF_8) or ""
            if range then length = size - select(2, range:raw():gsub("[\128-\191]", "")) end
        end
        if (one.least and length < one.least) or (one.most and length > one.most) then
            fail(label .. ": " .. length .. " long, which is out of bounds")
        end
    end
    if tree then
        local shown
        if range and value ~= nil then
            shown = tree:add(F[one.id], range, value)
        elseif range then
            shown = tree:add(F[one.id], range)
        elseif kind == "str" then
            shown = tree:add(F[one.id], tvb(at, 1), "")
        else
            shown = tree:add(tvb(at, 1), label .. ": empty")
        end
        if one.words then shown:append_text(" (" .. (one.words[value:tonumber()] or "unknown") .. ")") end
        if label == "name" and told.items == 1 then told.name = value end
        if label == "channel" then told.channels[#told.channels + 1] = value end
    end
    return start + size
end

function read_struct(name, label, tvb, at, tree, told)
    local struct = STRUCTS[name]
    local kind, start, size = head(tvb, at)
    if kind ~= "array" then fail(name .. ": no array, at byte " .. at) end
    if struct.tag then
        if tag_of(tvb, at) ~= struct.tag then fail(name .. ": another tag") end
        start, size = skip(tvb, start, 0), size - 1
    end
    if size < struct.least then fail(name .. ": " .. size .. " fields, at least " .. struct.least .. " expected") end
    local below
    if tree then
        below = tree:add(F[name:lower()], tvb(at, 1))
        if label then below:prepend_text(label .. ": ") end
    end
    for number = 1, size do
        local each = struct.fields[number]
        if each then
            start = read(each.type, each.name, tvb, start, below, told)
        else
            local stop = skip(tvb, start, 0)
            if below then below:add(tvb(start, stop - start), "a field of a later version") end
            start = stop
        end
    end
    if below then below:set_len(start - at) end
    return start
end

-- The name of the message that fills `tvb` from `at` on, or nil and why it is none.
local function checked(tags, tvb, at)
    local ok, result = pcall(function()
        local name = tags[tag_of(tvb, at) or -1] or fail("no message of this protocol")
        local stop = read_struct(name, nil, tvb, at, nil, {channels = {}})
        if stop ~= tvb:len() then fail(name .. ": " .. (tvb:len() - stop) .. " bytes behind it") end
        return name
    end)
    if ok then return result end
    if type(result) ~= "table" then error(result, 0) end
    return nil, result.text
end

-- Shows a message that `checked` has named; returns what the line of the packet says of it.
local function show(name, tvb, at, tree)
    local told = {items = 0, channels = {}}
    local ok, result = pcall(read_struct, name, nil, tvb, at, tree, told)
    if not ok then
        if type(result) ~= "table" or not result.full then error(result, 0) end
        tree:add(tvb(at), "more than " .. ITEMS .. " values: the rest is not shown")
    end
    if told.body or told.name then return name .. " " .. (told.body or told.name) end
    return #told.channels > 0 and name .. " " .. table.concat(told.channels, ", ", 1, math.min(8, #told.channels)) or name
end

-- Control connections -----------------------------------------------------------------------------------------------

local stream_of = Field.new("tcp.stream")
local streams = {} -- of each TCP connection: `begun` (its first frame was seen), `proved` (the packet of its Confirm)

function proto.init() streams = {} end

local function add_info(pinfo, text)
    if pinfo.private["overlay_info"] then text = ", " .. text end
    pinfo.private["overlay_info"] = "1"
    pinfo.cols.info:append(text)
end

local function dissect_frame(tvb, pinfo, root)
    local stream = stream_of() and stream_of().value or -1
    local state = streams[stream] or {}
    streams[stream] = state
    local length = tvb(0, HEAD):uint()
    local tree = root:add(proto, tvb())
    tree:add(F["frame.length"], tvb(0, HEAD))
    if length > MAX_MESSAGE then
        tree:add_proto_expert_info(broken, "a frame of " .. length .. " bytes; at most " .. MAX_MESSAGE .. " are allowed")
        add_info(pinfo, "no frame")
        return tvb:len()
    end
    local size = tvb:len() - HEAD
    if size >= #MAGIC + 2 and tvb(HEAD, #MAGIC):raw() == MAGIC then
        state.begun = true
        tree:append_text(", first frame")
        tree:add(F["first.magic"], tvb(HEAD, #MAGIC))
        tree:add(F["first.lowest"], tvb(HEAD + #MAGIC, 1))
        tree:add(F["first.highest"], tvb(HEAD + #MAGIC + 1, 1))
        if size > #MAGIC + 2 then tree:add(tvb(HEAD + #MAGIC + 2), "of a later version") end
        add_info(pinfo, "first frame")
        return tvb:len()
    end
    local name, why = checked(MESSAGES, tvb, HEAD)
    if name then
        if name == "Confirm" and not state.proved then state.proved = pinfo.number end
        tree:append_text(", " .. name)
        add_info(pinfo, show(name, tvb, HEAD, tree))
        return tvb:len()
    end
    local proved = state.proved and pinfo.number >= state.proved
    if size < TAG + 1 or (state.begun and not proved) then
        tree:append_text(", malformed")
        tree:add_proto_expert_info(broken, why)
        add_info(pinfo, "malformed")
        return tvb:len()
    end
    tree:append_text(", sealed")
    tree:add(F["sealed.length"], tvb(HEAD, size - TAG), size - TAG)
    tree:add(F["sealed.content"], tvb(HEAD, size - TAG))
    tree:add(F["sealed.tag"], tvb(tvb:len() - TAG, TAG))
    if not proved then tree:add_proto_expert_info(dark) end
    add_info(pinfo, "sealed (" .. size - TAG .. " bytes)")
    return tvb:len()
end

local function frame_length(tvb, _, offset)
    local length = tvb(offset, HEAD):uint()
    if length > MAX_MESSAGE then return tvb:len() - offset end -- no frame: nothing to wait for
    return HEAD + length
end

function proto.dissector(tvb, pinfo, root)
    if tvb:len() == 0 then return 0 end
    pinfo.cols.protocol:set("Overlay")
    pinfo.cols.info:set("")
    pinfo.private["overlay_info"] = nil
    dissect_tcp_pdus(tvb, root, HEAD, frame_length, dissect_frame)
    return tvb:len()
end

-- Datagrams ---------------------------------------------------------------------------------------------------------

local function inner(range, pinfo, root, tree)
    local ethernet = Dissector.get("eth_withoutfcs")
    local ok = pcall(ethernet.call, ethernet, range:tvb(), pinfo, root)
    if not ok then tree:add_proto_expert_info(broken, "the frame within cannot be read") end
end

local TUNNEL = 24
local KINDS = {[0] = "unicast", "flood", "probe", "answer"}

local function dissect_tunnel(tvb, pinfo, root)
    local first = tvb(0, 1):uint()
    local kind = first % 4
    local sealed, packed = math.floor(first / 0x40) % 2 == 1, math.floor(first / 0x20) % 2 == 1
    local tree = root:add(udp, tvb(0, math.min(TUNNEL, tvb:len())), "Overlay tunnel, " .. KINDS[kind])
    pinfo.cols.info:set("tunnel " .. KINDS[kind] .. (sealed and ", sealed" or ""))
    local flags = tree:add(F["tunnel.first"], tvb(0, 1))
    for _, each in ipairs({"kind", "partial", "pass_on", "packed", "sealed"}) do
        flags:add(F["tunnel." .. each], tvb(0, 1))
    end
    if tvb:len() < TUNNEL + (sealed and TAG or 0) then
        tree:add_proto_expert_info(broken, "a tunnel packet of " .. tvb:len() .. " bytes")
        return tvb:len()
    end
    tree:add(F["tunnel.ttl"], tvb(1, 1))
    tree:add(F["tunnel.tag"], tvb(2, 4))
    tree:add(F["tunnel.source"], tvb(6, 5))
    tree:add(F[kind == 1 and "tunnel.flood" or "tunnel.destination"], tvb(11, 5))
    tree:add(F["tunnel.epoch"], tvb(16, 2))
    tree:add(F["tunnel.sequence"], tvb(18, 6))
    if sealed then
        local size = tvb:len() - TUNNEL - TAG
        tree:set_len(tvb:len())
        tree:add(F["sealed.length"], tvb(TUNNEL, size), size)
        if size > 0 then tree:add(F["sealed.content"], tvb(TUNNEL, size)) end
        tree:add(F["sealed.tag"], tvb(tvb:len() - TAG, TAG))
    elseif kind >= 2 then
        tree:set_len(tvb:len())
        if tvb:len() < TUNNEL + 10 then
            tree:add_proto_expert_info(broken, "a probe of " .. tvb:len() - TUNNEL .. " bytes")
            return tvb:len()
        end
        tree:add(F["probe.nonce"], tvb(TUNNEL, 8))
        tree:add(F["probe.size"], tvb(TUNNEL + 8, 2))
        if tvb:len() > TUNNEL + 10 then tree:add(F["probe.padding"], tvb(TUNNEL + 10)) end
    elseif packed then
        tree:set_len(tvb:len())
        local at = TUNNEL
        while at < tvb:len() do
            local length = at + 2 <= tvb:len() and tvb(at, 2):uint() % 0x8000 or 0
            if length == 0 or at + 2 + length > tvb:len() then
                tree:add_proto_expert_info(broken, "a frame of " .. length .. " bytes, at byte " .. at)
                break
            end
            tree:add(F["tunnel.frame"], tvb(at, 2))
            tree:add(F["tunnel.frame_partial"], tvb(at, 2))
            inner(tvb(at + 2, length), pinfo, root, tree)
            at = at + 2 + length
        end
    elseif tvb:len() > TUNNEL then
        inner(tvb(TUNNEL), pinfo, root, tree)
    end
    return tvb:len()
end

function udp.dissector(tvb, pinfo, root)
    if tvb:len() == 0 then return 0 end
    local tunnel = tvb(0, 1):uint() >= 0x80
    if not tunnel and (tvb:len() < #DATAGRAM or tvb(0, #DATAGRAM):raw() ~= DATAGRAM) then return 0 end
    pinfo.cols.protocol:set("Overlay")
    if tunnel then return dissect_tunnel(tvb, pinfo, root) end
    local tree = root:add(proto, tvb())
    tree:add(F["datagram.magic"], tvb(0, #DATAGRAM))
    local name, why = checked(DATAGRAMS, tvb, #DATAGRAM)
    if name and tvb:len() > MAX_DATAGRAM then name, why = nil, "more than " .. MAX_DATAGRAM .. " bytes" end
    tree:append_text(", " .. (name or "malformed"))
    pinfo.cols.info:set(name or "malformed")
    if name then show(name, tvb, #DATAGRAM, tree) else tree:add_proto_expert_info(broken, why) end
    return tvb:len()
end

-- Within VXLAN, between the bridges of two hosts.
function probe.dissector(tvb, pinfo, root)
    if tvb:len() < 16 or tvb(0, #PROBE):raw() ~= PROBE then return 0 end
    pinfo.cols.protocol:set("Overlay")
    local answer, size = tvb(4, 1):uint(), tvb(15, 1):uint()
    local tree = root:add(probe, tvb())
    tree:add(F["probe.answer"], tvb(4, 1))
    tree:add(F["probe.nonce"], tvb(5, 8))
    tree:add(F["probe.size"], tvb(13, 2))
    pinfo.cols.info:set(answer == 1 and "answer to a probe" or "probe")
    if answer > 1 or size > 64 or 16 + size > tvb:len() then
        tree:add_proto_expert_info(broken, "kind " .. answer .. ", a name of " .. size .. " bytes")
        return tvb:len()
    end
    if size > 0 then tree:add(F["probe.sender"], tvb(16, size)) end
    if 16 + size < tvb:len() then tree:add(F["probe.padding"], tvb(16 + size)) end
    return tvb:len()
end

-- What the lab did, between the packets: frames of no network, of the interface "lab steps".
local mark = Proto("lab_step", "Lab step")
local mark_text = ProtoField.string("lab_step.text", "Text")
mark.fields = {mark_text}
function mark.dissector(tvb, pinfo, root)
    if tvb:len() == 0 then return 0 end
    pinfo.cols.protocol:set("Lab")
    local text = tvb(0):string(ENC_UTF_8)
    root:add(mark, tvb()):add(mark_text, tvb(0), text)
    pinfo.cols.info:set(text)
    return tvb:len()
end

-- Where it is looked for. Another --port: *Decode As*, or `-d tcp.port==7000,overlay -d udp.port==7000,overlay_udp`.
DissectorTable.get("tcp.port"):add(CONTROL_PORT, proto)
DissectorTable.get("udp.port"):add(CONTROL_PORT, udp)
DissectorTable.get("ethertype"):add(ETHERTYPE, probe)
DissectorTable.get("ethertype"):add(MARK_ETHERTYPE, mark)
local vxlan = DissectorTable.get("udp.port"):get_dissector(4789) -- the registered port of VXLAN
for _, port in ipairs(vxlan and VXLAN_PORTS or {}) do
    DissectorTable.get("udp.port"):add(port, vxlan) -- else 6784 is taken for BFD
end
