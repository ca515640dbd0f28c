/* Rows of tunnel packets, one call for a whole turn: recvmmsg(2), then cuts and seals what the port gave and sends it
   (sendmmsg with UDP_SEGMENT), or opens and joins what the socket gave and writes it to the port.

   Takes the usual frames only and stops at the first one that is anything else: the Python (overlay/datapath/tunnel.py)
   then handles that one and those after it. So nothing is decided here. Which keys, counters and routes hold is written
   into the structures by overlay/runtime/rows/row_calls.py, which also carries the results back. Every length comes from
   outside and is checked before it is used. Knows no Python: it is called with the interpreter's lock released.

   libcrypto (OpenSSL 3) is found when it is loaded (dlopen), so one build serves every machine of its kind. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

enum {
    PREFIX = 16, HEADER = 24, TAG = 16, VNET = 10, ETHERNET = 14, BUNDLED = 2, SMALL = 512,
    MAX_BATCH = 64, MAX_BATCH_BYTES = 65000, MAX_JOINED = 65000, MAX_DATAGRAMS = 64, MAX_ROW = 128, MIN_SEGMENT = 64,
    MAX_PIECES = 128, SPARE_SENDS = 8, MAX_SLOTS = 64, MAX_HEADERS = 136,
    TYPE = 0x03, PARTIAL = 0x04, PACKED = 0x20, SEALED = 0x40, TUNNEL = 0x80, TTL = 64, BUNDLED_PARTIAL = 0x8000,
    NEEDS_CSUM = 1, GSO_TCPV4 = 1, GSO_TCPV6 = 4, GSO_UDP = 5, TCP = 6, UDP = 17,
    FIN_PSH = 0x09, CWR = 0x80,
    UDP_LEVEL = 17, SEGMENT_OPTION = 103, GRO_OPTION = 104, CONTROL = 32, AT_ONCE = 16,
    NAME = 28
};

typedef struct {
    void *seal, *open;                 /* of `rows_key`; NULL: in clear */
    uint64_t out_counter, out_limit;   /* the next counter to be used, and the first that must not be */
    uint64_t in_counter, in_limit;     /* the lowest counter that is new, and the first beyond its epoch */
    uint32_t room;                     /* the most bytes of a content */
    uint32_t sent;                     /* result of this call: packets out */
    int32_t held, held_last, held_way; /* the small frames that wait, as slots; used within a call, then -1 */
    uint32_t held_size;
    uint32_t name_length;
    uint8_t name[NAME];                /* where its packets come from: a sockaddr */
    uint8_t tag[4];
} session;

typedef struct {
    uint32_t session;
    uint8_t plain[PREFIX], partial[PREFIX], packed[PREFIX];
} way;

typedef struct {
    uint8_t mac[6];
    uint16_t way;
} route;

typedef struct {
    uint64_t at;              /* in the buffer; of a mark: the first counter */
    uint32_t length, segment; /* bytes of all, and of each */
    uint32_t session, count;
} piece;                      /* datagrams of one message, a write to the port, or packets sent or seen of a session */

typedef struct {
    const route *routes;
    const way *ways;
    session *sessions;
    uint8_t *out;
    piece *pieces, *marks;  /* results; `marks` has room for a mark of each slot */
    int32_t *held;          /* result: slots whose frames wait, ended by -1 */
    uint64_t room;
    uint64_t bytes;         /* result: received */
    uint32_t route_count, way_count, session_count, most;
    int32_t received;       /* result: slots, or minus errno */
    int32_t taken;          /* result: slots that were handled, -1 if the cipher failed */
    uint32_t count, marked; /* results: pieces and marks */
    uint32_t sent, lost;    /* results: pieces that the kernel took, writes that it did not take */
    uint32_t join_datagrams;
    uint8_t own[8];
} turn;                     /* what one call for a whole turn is given, and its results */

/* --- libcrypto ------------------------------------------------------------------------------------------------------- */

enum { SET_IVLEN = 0x9, GET_TAG = 0x10, SET_TAG = 0x11 };

static struct {
    void *(*context)(void);
    void (*free)(void *);
    const void *(*aes)(void), *(*chacha)(void);
    int (*init)(void *, const void *, void *, const uint8_t *, const uint8_t *, int);
    int (*update)(void *, uint8_t *, int *, const uint8_t *, int);
    int (*final)(void *, uint8_t *, int *);
    int (*control)(void *, int, int, void *);
} evp;

API int rows_open(const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) return 0;
    *(void **)&evp.context = dlsym(handle, "EVP_CIPHER_CTX_new");
    *(void **)&evp.free = dlsym(handle, "EVP_CIPHER_CTX_free");
    *(void **)&evp.aes = dlsym(handle, "EVP_aes_256_gcm");
    *(void **)&evp.chacha = dlsym(handle, "EVP_chacha20_poly1305");
    *(void **)&evp.init = dlsym(handle, "EVP_CipherInit_ex");
    *(void **)&evp.update = dlsym(handle, "EVP_CipherUpdate");
    *(void **)&evp.final = dlsym(handle, "EVP_CipherFinal_ex");
    *(void **)&evp.control = dlsym(handle, "EVP_CIPHER_CTX_ctrl");
    return evp.context && evp.free && evp.aes && evp.chacha && evp.init && evp.update && evp.final && evp.control;
}

API void *rows_key(const uint8_t *key, int seal, int chacha) {
    void *context = evp.context ? evp.context() : NULL;
    if (context == NULL) return NULL;
    if (evp.init(context, chacha ? evp.chacha() : evp.aes(), NULL, key, NULL, seal) != 1) {
        evp.free(context);
        return NULL;
    }
    return context;
}

API void rows_free(void *key) {
    if (key != NULL) evp.free(key);
}

static void put16(uint8_t *at, uint32_t value) {
    at[0] = value >> 8;
    at[1] = value;
}

static uint32_t get16(const uint8_t *at) {
    return (uint32_t)at[0] << 8 | at[1];
}

static void put32(uint8_t *at, uint32_t value) {
    put16(at, value >> 16);
    put16(at + 2, value);
}

static uint32_t get32(const uint8_t *at) {
    return get16(at) << 16 | get16(at + 2);
}

static void put64(uint8_t *at, uint64_t value) {
    put32(at, value >> 32);
    put32(at + 4, value);
}

static uint64_t get64(const uint8_t *at) {
    return (uint64_t)get32(at) << 32 | get32(at + 4);
}

/* Seals `length` bytes where they stand, with the tag behind them; `head` is the prefix and the counter. */
static int seal(void *key, const uint8_t *head, uint8_t *content, uint32_t length) {
    uint8_t nonce[12] = {0};
    int done = 0;
    memcpy(nonce + 4, head + PREFIX, 8);
    return evp.init(key, NULL, NULL, NULL, nonce, -1) == 1 && evp.update(key, NULL, &done, head, PREFIX) == 1 &&
           (length == 0 || evp.update(key, content, &done, content, length) == 1) &&
           evp.final(key, content + length, &done) == 1 && evp.control(key, GET_TAG, TAG, content + length) == 1;
}

/* Opens `length` bytes of ciphertext, which its tag follows, into `content`. */
static int unseal(void *key, const uint8_t *head, uint64_t counter, const uint8_t *sealed, uint32_t length,
                  uint8_t *content) {
    uint8_t nonce[12] = {0};
    int done = 0;
    put64(nonce + 4, counter);
    return evp.init(key, NULL, NULL, NULL, nonce, -1) == 1 &&
           evp.control(key, SET_TAG, TAG, (void *)(sealed + length)) == 1 &&
           evp.update(key, NULL, &done, head, PREFIX) == 1 &&
           (length == 0 || evp.update(key, content, &done, sealed, length) == 1) &&
           evp.final(key, content + length, &done) == 1;
}

/* --- frames: as overlay/datapath/inner.py ---------------------------------------------------------------------------- */

typedef struct {
    uint32_t version, protocol, transport, end;
} layers;

static int find_layers(const uint8_t *frame, uint32_t length, layers *found) {
    if (length >= ETHERNET + 20 && frame[12] == 8 && frame[13] == 0) {
        found->transport = ETHERNET + (frame[14] & 15) * 4;
        if (frame[14] >> 4 != 4 || found->transport < ETHERNET + 20 || length < found->transport) return 0;
        if (get16(frame + 20) & 0x3FFF) return 0;
        found->protocol = frame[23];
        found->version = 4;
    } else if (length >= ETHERNET + 40 && frame[12] == 0x86 && frame[13] == 0xDD && frame[14] >> 4 == 6) {
        found->protocol = frame[20];
        found->transport = ETHERNET + 40;
        found->version = 6;
    } else {
        return 0;
    }
    if (found->protocol == TCP && length >= found->transport + 20) {
        found->end = found->transport + (frame[found->transport + 12] >> 4) * 4;
        return found->end >= found->transport + 20 && length >= found->end;
    }
    found->end = found->transport + 8;
    return found->protocol == UDP && length >= found->end;
}

static uint32_t folded(uint64_t sum) {
    while (sum >> 16) sum = (sum & 0xFFFF) + (sum >> 16);
    return sum;
}

static uint64_t words(const uint8_t *at, uint32_t length) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i + 1 < length; i += 2) sum += get16(at + i);
    return sum;
}

/* The headers of a frame that was copied, for `payload` bytes behind them. */
static void set_length(uint8_t *frame, const layers *found, uint32_t payload) {
    if (found->version == 6) {
        put16(frame + 18, found->end - ETHERNET - 40 + payload);
        return;
    }
    put16(frame + 16, found->end - ETHERNET + payload);
    put16(frame + 24, 0);
    put16(frame + 24, ~folded(words(frame + ETHERNET, found->transport - ETHERNET)) & 0xFFFF);
}

static uint32_t checksum_at(const layers *found) {
    return found->transport + (found->protocol == TCP ? 16 : 6);
}

/* The sum that a checksum left to be completed holds: a number modulo 65535, as Python's `partial_sum` has it. */
static void set_partial(uint8_t *frame, const layers *found, uint32_t length) {
    const uint8_t *addresses = frame + (found->version == 4 ? 26 : 22);
    uint64_t sum = words(addresses, found->version == 4 ? 8 : 32) % 65535;
    put16(frame + checksum_at(found), (sum + found->protocol + length) % 65535);
}

/* --- out ------------------------------------------------------------------------------------------------------------- */

typedef struct {
    session *sessions;
    const way *ways;
    const struct mmsghdr *slots;
    int32_t *next; /* of each slot that waits, the one behind it */
    uint8_t *out;
    uint64_t used, room;
    piece *sends;
    uint32_t count, most;
    const uint8_t *head; /* of the open row; NULL: none */
    uint32_t last;       /* bytes of its last packet */
} sending;

static const uint8_t *slot_data(const struct mmsghdr *slot, uint32_t size, uint32_t *length) {
    const struct iovec *where = slot->msg_hdr.msg_iov;
    *length = slot->msg_len <= where->iov_len && slot->msg_len <= size ? slot->msg_len : 0;
    return where->iov_base;
}

/* Where the content of the next packet goes, after its head. */
static uint8_t *begin_packet(sending *to, session *on, const uint8_t *head) {
    uint8_t *packet = to->out + to->used;
    memcpy(packet, head, PREFIX);
    put64(packet + PREFIX, on->out_counter);
    return packet + HEADER;
}

static int end_packet(sending *to, session *on, uint32_t number, const uint8_t *head, uint32_t length) {
    uint8_t *packet = to->out + to->used;
    piece *row = to->sends + to->count - 1;
    if (on->seal != NULL) {
        if (!seal(on->seal, packet, packet + HEADER, length)) return 0;
        length += TAG;
    }
    length += HEADER;
    if (to->head == NULL || row->session != number || memcmp(to->head, head, PREFIX) != 0 || to->last != row->segment ||
        length > row->segment || row->count == MAX_BATCH || row->length + length > MAX_BATCH_BYTES) {
        row = to->sends + to->count++;
        *row = (piece){.at = to->used, .segment = length, .session = number};
    }
    row->length += length;
    row->count++;
    to->head = head;
    to->last = length;
    to->used += length;
    on->out_counter++;
    on->sent++;
    return 1;
}

/* Turns a neighbour's waiting frames into a packet. */
static int close_held(sending *to, uint32_t number, uint32_t size) {
    session *on = to->sessions + number;
    uint8_t *content, *at;
    if (on->held < 0) return 1;
    const way *by = to->ways + on->held_way;
    const uint8_t *head = by->packed;
    int single = on->held == on->held_last;
    if (single) {
        uint32_t length;
        const uint8_t *data = slot_data(to->slots + on->held, size, &length);
        head = data[0] & NEEDS_CSUM ? by->partial : by->plain;
    }
    at = content = begin_packet(to, on, head);
    for (int32_t slot = on->held; slot >= 0; slot = to->next[slot]) {
        uint32_t length;
        const uint8_t *data = slot_data(to->slots + slot, size, &length);
        length -= VNET;
        if (!single) {
            put16(at, length | (data[0] & NEEDS_CSUM ? BUNDLED_PARTIAL : 0));
            at += BUNDLED;
        }
        memcpy(at, data + VNET, length);
        at += length;
    }
    on->held = on->held_last = -1;
    on->held_size = 0;
    return end_packet(to, on, number, head, at - content);
}

/* One piece of a super-packet: headers, then `length` bytes from `payload`. */
static int cut_piece(sending *to, uint32_t number, const way *by, const uint8_t *frame, const layers *found,
                     const uint8_t *payload, uint32_t length, int first, int last) {
    session *on = to->sessions + number;
    uint8_t *content = begin_packet(to, on, by->partial);
    memcpy(content, frame, found->end);
    set_length(content, found, length);
    put16(content + checksum_at(found), 0);
    if (found->protocol == TCP) {
        uint32_t flags = frame[found->transport + 13];
        put32(content + found->transport + 4, get32(frame + found->transport + 4) + (payload - frame - found->end));
        if (!(first && last)) flags &= last ? ~CWR : first ? ~FIN_PSH : ~(FIN_PSH | CWR);
        content[found->transport + 13] = flags;
    } else {
        put16(content + found->transport + 4, 8 + length);
    }
    memcpy(content + found->end, payload, length);
    return end_packet(to, on, number, by->partial, found->end + length);
}

/* Takes the frame of a slot: 1, or 0 if it is none of the usual ones; -1 if the cipher failed. */
static int take_frame(sending *to, uint32_t slot, uint32_t size, const route *routes, uint32_t route_count,
                      uint32_t way_count, uint32_t session_count) {
    uint32_t length, number;
    const uint8_t *data = slot_data(to->slots + slot, size, &length), *frame = data + VNET;
    const way *by = NULL;
    layers found = {0};
    uint16_t cut, start;
    if (length < VNET + ETHERNET) return length != 0; /* no frame: nothing to do */
    length -= VNET;
    memcpy(&cut, data + 4, 2);
    memcpy(&start, data + 6, 2);
    for (uint32_t i = 0; i < route_count && by == NULL; i++)
        if (memcmp(routes[i].mac, frame, 6) == 0 && routes[i].way < way_count) by = to->ways + routes[i].way;
    if (by == NULL || by->session >= session_count || to->count + SPARE_SENDS > to->most) return 0;
    number = by->session;
    session *on = to->sessions + number;
    /* Two packets at least: what waits, and this one. The largest frame is below 128 KiB with all of its headers. */
    if (on->out_limit - on->out_counter < MAX_PIECES + 2 || to->room - to->used < (256 << 10)) return 0;
    int partial = data[0] & NEEDS_CSUM;
    if (partial && (!find_layers(frame, length, &found) || found.transport != start)) return 0;
    if (partial && data[1] && cut) {
        uint32_t total = length - found.end, at;
        int64_t most = (int64_t)on->room - found.end;
        if (most > cut) most = cut;
        if (most <= 0 || total > MAX_PIECES * most) return 0;
        if (found.protocol == TCP ? most < (cut < MIN_SEGMENT ? cut : MIN_SEGMENT) : most != cut || total == 0) return 0;
        if (total <= most && found.end + total <= SMALL) return 0; /* one small piece may wait for others */
        if (!close_held(to, number, size)) return -1;
        for (at = 0; at == 0 || at < total; at += most) {
            uint32_t bytes = total - at < most ? total - at : most;
            if (!cut_piece(to, number, by, frame, &found, frame + found.end + at, bytes, at == 0, at + bytes >= total))
                return -1;
        }
        return 1;
    }
    if (length > on->room) return 0;
    if (length > SMALL) {
        if (!close_held(to, number, size)) return -1;
        const uint8_t *head = partial ? by->partial : by->plain;
        memcpy(begin_packet(to, on, head), frame, length);
        return end_packet(to, on, number, head, length) ? 1 : -1;
    }
    uint32_t filled = on->held_size + BUNDLED + length;
    if (on->held >= 0 && (by - to->ways != on->held_way || filled > on->room)) {
        if (!close_held(to, number, size)) return -1;
    }
    if (on->held < 0) {
        filled = BUNDLED + length;
        on->held = slot;
    } else {
        to->next[on->held_last] = slot;
    }
    to->next[slot] = -1;
    on->held_last = slot;
    on->held_way = by - to->ways;
    on->held_size = filled;
    return 1;
}

/* Packets from the frames of slots; returns how many slots it took, -1 if the cipher failed. The small frames that wait
   when it stops before the end are in `held`, as slots of which -1 ends the list; else they are sent. */
static int32_t rows_out(const struct mmsghdr *slots, uint32_t number, uint32_t size, const route *routes,
                        uint32_t route_count, const way *ways, uint32_t way_count, session *sessions,
                        uint32_t session_count, uint8_t *out, uint64_t room, piece *sends, uint32_t most,
                        uint32_t *count, int32_t *held) {
    int32_t next[MAX_SLOTS];
    uint32_t slot, waiting = 0;
    int taken = 1;
    sending to = {.sessions = sessions, .ways = ways, .slots = slots, .next = next, .out = out, .room = room,
                  .sends = sends, .most = most};
    *count = 0;
    held[0] = -1;
    if (number > MAX_SLOTS) return 0;
    for (slot = 0; slot < number; slot++) {
        taken = take_frame(&to, slot, size, routes, route_count, way_count, session_count);
        if (taken != 1) break;
    }
    for (uint32_t each = 0; each < session_count && taken >= 0; each++) {
        session *on = sessions + each;
        if (on->held < 0) continue;
        if (taken == 1 && to.count < most) {
            if (!close_held(&to, each, size)) taken = -1;
            continue;
        }
        for (int32_t one = on->held; one >= 0; one = next[one]) held[waiting++] = one;
        on->held = on->held_last = -1;
        on->held_size = 0;
    }
    held[waiting] = -1;
    *count = to.count;
    return taken < 0 ? -1 : (int32_t)slot;
}

/* --- in -------------------------------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t at;      /* of the virtio-net header in `out` */
    uint32_t length;  /* of the first frame */
    uint32_t total;   /* of the whole */
    uint32_t next;    /* TCP: the sequence number that continues it */
    uint32_t count, tail, identity;
    uint8_t flags;    /* TCP: of the first frame; `tail`: of the last */
    int active, open;
    layers found;
    uint8_t head[MAX_HEADERS]; /* of the first frame, as it came */
} run;

typedef struct {
    uint8_t *out;
    uint64_t used, room;
    piece *writes;
    uint32_t count, most;
    int join_datagrams;
    run run;
} delivering;

static void put_native16(uint8_t *at, uint16_t value) {
    memcpy(at, &value, 2);
}

static void finish(delivering *to) {
    run *open = &to->run;
    uint8_t *header = to->out + open->at, *frame = header + VNET;
    const layers *found = &open->found;
    uint32_t size = open->length - found->end, payload = open->total - found->end;
    int many = open->count > 1;
    if (!open->active) return;
    memset(header, 0, VNET);
    memcpy(frame, open->head, found->end); /* a slot that was not taken may have finished this run before */
    header[0] = NEEDS_CSUM;
    if (many) {
        header[1] = found->protocol == UDP ? GSO_UDP : found->version == 4 ? GSO_TCPV4 : GSO_TCPV6;
        put_native16(header + 2, found->end);
        put_native16(header + 4, size);
        set_length(frame, found, payload);
        if (found->protocol == TCP)
            frame[found->transport + 13] = open->flags | (open->tail & FIN_PSH);
        else
            put16(frame + found->transport + 4, 8 + payload);
    }
    put_native16(header + 6, found->transport);
    put_native16(header + 8, found->protocol == TCP ? 16 : 6);
    set_partial(frame, found, found->end - found->transport + payload);
    to->writes[to->count++] = (piece){.at = open->at, .length = VNET + open->total};
    open->active = 0;
}

static int same(const uint8_t *one, const uint8_t *other, uint32_t from, uint32_t to) {
    return memcmp(one + from, other + from, to - from) == 0;
}

/* As `inner.whole_packet`. */
static int whole(const uint8_t *frame, uint32_t length, const layers *found) {
    return found->version == 4 ? get16(frame + 16) == length - ETHERNET : get16(frame + 18) == length - ETHERNET - 40;
}

/* As `inner.same_flow`, and for datagrams `inner.same_datagrams`. */
static int continues(const delivering *to, const uint8_t *frame, uint32_t length) {
    const run *open = &to->run;
    const layers *found = &open->found;
    const uint8_t *first = open->head;
    uint32_t at = found->transport;
    if (!open->active || !open->open || length <= found->end || length > open->length ||
        open->total + length - found->end > MAX_JOINED || !whole(frame, length, found))
        return 0;
    if (found->version == 4 ? !same(first, frame, 0, 16) || !same(first, frame, 20, 24) || !same(first, frame, 26, at)
                            : !same(first, frame, 0, 18) || !same(first, frame, 20, at))
        return 0;
    if (found->protocol == UDP) {
        if (open->count >= MAX_DATAGRAMS || !same(first, frame, at, at + 4)) return 0;
        if (get16(frame + at + 4) != length - at) return 0;
        if (found->version == 6 || frame[20] & 0x40) return 1;
        return get16(frame + 18) == ((open->identity + open->count) & 0xFFFF);
    }
    return same(first, frame, at, at + 4) && get32(frame + at + 4) == open->next && same(first, frame, at + 8, at + 13) &&
           same(first, frame, at + 14, at + 16) && same(first, frame, at + 18, found->end) && !(open->flags & FIN_PSH) &&
           (open->flags & ~CWR) == (frame[at + 13] & ~FIN_PSH);
}

/* Whether a frame was taken; it stands anywhere but in the part of `out` that is not used yet. */
static int deliver(delivering *to, const uint8_t *frame, uint32_t length, int partial) {
    run *open = &to->run;
    layers found = {0};
    if (length < ETHERNET || to->room - to->used < VNET + length || to->count + 2 > to->most) return 0;
    if (!partial) {
        finish(to);
        memset(to->out + to->used, 0, VNET);
        memcpy(to->out + to->used + VNET, frame, length);
        to->writes[to->count++] = (piece){.at = to->used, .length = VNET + length};
        to->used += VNET + length;
        return 1;
    }
    if (continues(to, frame, length)) {
        uint32_t payload = length - open->found.end;
        memcpy(to->out + to->used, frame + open->found.end, payload);
        to->used += payload;
        open->total += payload;
        open->next += payload;
        open->count++;
        open->open = length == open->length;
        if (open->found.protocol == TCP) {
            open->tail = frame[open->found.transport + 13];
            open->open = open->open && !(open->tail & FIN_PSH);
        }
        return 1;
    }
    if (!find_layers(frame, length, &found)) return 0;
    finish(to);
    *open = (run){.at = to->used, .length = length, .total = length, .count = 1, .active = 1, .found = found};
    memcpy(open->head, frame, found.end);
    memcpy(to->out + to->used + VNET, frame, length);
    to->used += VNET + length;
    if (found.protocol == TCP) {
        open->flags = open->tail = frame[found.transport + 13];
        open->next = get32(frame + found.transport + 4) + length - found.end;
        open->open = length > found.end && whole(frame, length, &found);
    } else {
        open->identity = get16(frame + 18);
        open->open = to->join_datagrams && length > found.end && whole(frame, length, &found) &&
                     get16(frame + found.transport + 4) == length - found.transport;
        if (!open->open) finish(to);
    }
    return 1;
}

static int deliver_content(delivering *to, const uint8_t *content, uint32_t length, uint8_t kind) {
    uint32_t at = 0;
    if (!(kind & PACKED)) return deliver(to, content, length, kind & PARTIAL);
    while (at < length) {
        if (length - at < BUNDLED) return 0;
        uint32_t word = get16(content + at), bytes = word & ~BUNDLED_PARTIAL;
        at += BUNDLED;
        if (bytes == 0 || bytes > length - at || !deliver(to, content + at, bytes, word & BUNDLED_PARTIAL)) return 0;
        at += bytes;
    }
    return 1;
}

/* The length of the datagrams that the kernel joined in this slot; 0: it is one. */
static uint32_t joined_at(const struct mmsghdr *slot) {
    struct msghdr *header = (struct msghdr *)&slot->msg_hdr;
    struct cmsghdr *note = CMSG_FIRSTHDR(header);
    int size = 0;
    if (note == NULL || note->cmsg_level != UDP_LEVEL || note->cmsg_type != GRO_OPTION ||
        note->cmsg_len < CMSG_LEN(sizeof size))
        return 0;
    memcpy(&size, CMSG_DATA(note), sizeof size);
    return size > 0 ? size : 0;
}

/* Whether the packets of a slot were taken; then `mark` tells which they are. */
static int take_slot(delivering *to, const struct mmsghdr *slot, uint32_t size, const uint8_t *own, session *sessions,
                     uint32_t session_count, uint8_t *scratch, piece *mark) {
    uint32_t length, index = 0, segment = joined_at(slot), overhead = HEADER, count = 0;
    const uint8_t *data = slot_data(slot, size, &length);
    if (length < HEADER) return 0;
    while (index < session_count && memcmp(sessions[index].tag, data + 2, 4) != 0) index++;
    if (index == session_count) return 0;
    session *on = sessions + index;
    if (on->name_length == 0 || on->name_length > NAME || slot->msg_hdr.msg_namelen != on->name_length ||
        memcmp(slot->msg_hdr.msg_name, on->name, on->name_length) != 0)
        return 0;
    if (on->open != NULL) overhead += TAG;
    if (segment == 0 || segment > length) segment = length;
    if (segment < overhead || (length % segment != 0 && length % segment < overhead)) return 0;
    uint64_t first = get64(data + PREFIX);
    if (first < on->in_counter || first >= on->in_limit || on->in_limit - first < MAX_ROW ||
        (length - 1) / segment >= MAX_ROW)
        return 0;
    for (uint32_t at = 0; at < length; at += segment, count++) {
        const uint8_t *packet = data + at, *content = packet + HEADER;
        uint32_t bytes = (length - at < segment ? length - at : segment) - overhead;
        /* The kernel joins by length alone, so each packet has a header of its own. */
        if ((packet[0] & (TUNNEL | SEALED | TYPE)) != (on->open != NULL ? TUNNEL | SEALED : TUNNEL) ||
            memcmp(packet + 2, data + 2, 4) != 0 || memcmp(packet + 11, own, 5) != 0 ||
            get64(packet + PREFIX) != first + count)
            return 0;
        if (on->open != NULL) {
            if (!unseal(on->open, packet, first + count, content, bytes, scratch)) return 0;
            content = scratch;
        }
        if (!deliver_content(to, content, bytes, packet[0])) return 0;
    }
    on->in_counter = first + count;
    *mark = (piece){.at = first, .session = index, .count = count};
    return 1;
}

/* Writes for the port from the packets of slots; returns how many slots it took: each whole or not at all. `marks` tells
   which packets those are, consecutive ones as one, and has room for as many as there are slots. */
static int32_t rows_in(const struct mmsghdr *slots, uint32_t number, uint32_t size, const uint8_t *own,
                       session *sessions, uint32_t session_count, uint8_t *out, uint64_t room, piece *writes,
                       uint32_t most, uint32_t *count, piece *marks, uint32_t *marked, int join_datagrams) {
    static uint8_t scratch[1 << 16]; /* one thread calls */
    delivering to = {.out = out, .room = room, .writes = writes, .most = most, .join_datagrams = join_datagrams};
    uint32_t slot = 0;
    *count = *marked = 0;
    if (number > MAX_SLOTS || size > sizeof scratch) return 0;
    for (; slot < number; slot++) {
        delivering before = to;
        piece mark, *last = marks + *marked - 1;
        if (!take_slot(&to, slots + slot, size, own, sessions, session_count, scratch, &mark)) {
            to = before;
            break;
        }
        if (*marked > 0 && last->session == mark.session && last->at + last->count == mark.at)
            last->count += mark.count;
        else
            marks[(*marked)++] = mark;
    }
    finish(&to);
    *count = to.count;
    return slot;
}

/* Writes each to the port; returns how many the kernel did not take. */
static int32_t rows_write(int descriptor, const uint8_t *out, const piece *writes, uint32_t count) {
    int32_t lost = 0;
    for (uint32_t each = 0; each < count; each++) {
        ssize_t done;
        do done = write(descriptor, out + writes[each].at, writes[each].length);
        while (done < 0 && errno == EINTR);
        lost += done < 0;
    }
    return lost;
}

/* Sends each piece to its session's address, many in one system call; returns how many of them the kernel took. */
static uint32_t rows_send(int socket4, int socket6, const uint8_t *out, const piece *sends, uint32_t count,
                          const session *sessions) {
    union {
        struct cmsghdr aligned;
        uint8_t bytes[CMSG_SPACE(sizeof(uint16_t))];
    } notes[AT_ONCE];
    struct mmsghdr row[AT_ONCE];
    struct iovec where[AT_ONCE];
    uint32_t done = 0;
    while (done < count) {
        uint32_t number = 0;
        int by = -1, taken;
        for (; number < AT_ONCE && done + number < count; number++) {
            const piece *each = sends + done + number;
            const session *to = sessions + each->session;
            struct msghdr *header = &row[number].msg_hdr;
            sa_family_t family;
            memcpy(&family, to->name, sizeof family);
            int wanted = family == AF_INET6 ? socket6 : socket4;
            if (number > 0 && wanted != by) break;
            by = wanted;
            where[number] = (struct iovec){(void *)(out + each->at), each->length};
            *header = (struct msghdr){.msg_name = (void *)to->name, .msg_namelen = to->name_length,
                                      .msg_iov = where + number, .msg_iovlen = 1};
            if (each->count < 2) continue;
            uint16_t segment = each->segment;
            header->msg_control = notes + number;
            header->msg_controllen = sizeof notes[number].bytes;
            struct cmsghdr *note = CMSG_FIRSTHDR(header);
            note->cmsg_level = UDP_LEVEL;
            note->cmsg_type = SEGMENT_OPTION;
            note->cmsg_len = CMSG_LEN(sizeof segment);
            memcpy(CMSG_DATA(note), &segment, sizeof segment);
        }
        if (by < 0) break;
        do taken = sendmmsg(by, row, number, MSG_DONTWAIT);
        while (taken < 0 && errno == EINTR);
        if (taken > 0) done += taken;
        if (taken < (int)number) break;
    }
    return done;
}

/* Fills slots, of which `used` are as the last call left them. */
static int receive(turn *of, int descriptor, struct mmsghdr *slots, uint32_t used, uint32_t most) {
    for (uint32_t slot = 0; slot < used; slot++) {
        struct msghdr *header = &slots[slot].msg_hdr;
        header->msg_namelen = NAME;
        header->msg_controllen = CONTROL;
        header->msg_flags = 0;
    }
    int number = recvmmsg(descriptor, slots, most, MSG_DONTWAIT, NULL);
    of->received = number >= 0 ? number : errno == EAGAIN || errno == EINTR ? 0 : -errno;
    of->taken = 0;
    of->count = of->marked = of->sent = of->lost = 0;
    of->held[0] = -1;
    of->bytes = 0;
    for (int32_t slot = 0; slot < of->received; slot++) of->bytes += slots[slot].msg_len;
    return of->received > 0;
}

/* Makes packets of the received frames, and marks how many each session got. */
API void rows_frames(turn *of, const struct mmsghdr *slots, uint32_t size) {
    of->marked = 0;
    of->taken = rows_out(slots, of->received, size, of->routes, of->route_count, of->ways, of->way_count, of->sessions,
                         of->session_count, of->out, of->room, of->pieces, of->most, &of->count, of->held);
    for (uint32_t each = 0; of->taken >= 0 && each < of->count; each++) {
        session *to = of->sessions + of->pieces[each].session;
        if (to->sent == 0) continue;
        of->marks[of->marked++] = (piece){.session = of->pieces[each].session, .count = to->sent};
        to->sent = 0;
    }
}

/* Makes writes for the port of the received datagrams. */
API void rows_datagrams(turn *of, const struct mmsghdr *slots, uint32_t size) {
    of->taken = rows_in(slots, of->received, size, of->own, of->sessions, of->session_count, of->out, of->room,
                        of->pieces, of->most, &of->count, of->marks, &of->marked, of->join_datagrams);
}

/* Receives frames from the port, and sends their packets. */
API void rows_turn_out(turn *of, struct mmsghdr *slots, uint32_t size, uint32_t used, uint32_t most, int port,
                       int socket4, int socket6) {
    if (!receive(of, port, slots, used, most)) return;
    rows_frames(of, slots, size);
    if (of->taken >= 0) of->sent = rows_send(socket4, socket6, of->out, of->pieces, of->count, of->sessions);
}

/* Receives datagrams from the socket, and writes their frames to the port. */
API void rows_turn_in(turn *of, struct mmsghdr *slots, uint32_t size, uint32_t used, uint32_t most, int socket,
                      int port) {
    if (!receive(of, socket, slots, used, most)) return;
    rows_datagrams(of, slots, size);
    of->lost = rows_write(port, of->out, of->pieces, of->count);
}

API uint32_t rows_layout(uint32_t which) {
    const uint32_t sizes[] = {sizeof(session), sizeof(way), sizeof(route), sizeof(piece), sizeof(turn)};
    return which < 5 ? sizes[which] : 0;
}
