/* The first program of a container that was made through the proxy: waits for the overlay, then becomes the image's own
 * program. Static, no libc, no shell: it runs in an image that holds nothing, as any user, and hands arguments and
 * environment on untouched. `waiter.py` holds it compiled; `make waiter` does that anew.
 *
 * /w/w PROGRAM [ARGUMENT ...]
 *
 * The overlay is there when /sys/class/net/ethwe/carrier reads 1: the router switches the bridge's end on last.
 * A signal that arrives meanwhile and would end a program ends this one (128 + its number): as the first process of a
 * container it would not be ended by it otherwise. PROGRAM without a slash is looked for on PATH as execvp(3) does.
 */

typedef unsigned long u64;

#if defined(__x86_64__)
enum { READ = 0, WRITE = 1, OPEN_AT = 257, CLOSE = 3, EXECVE = 59, EXIT = 231, MASK = 14, TIMEDWAIT = 128, STAT_AT = 262 };
static long call(long n, long a, long b, long c, long d) {
    long result;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return result;
}
__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call run\n");
#elif defined(__aarch64__)
enum { READ = 63, WRITE = 64, OPEN_AT = 56, CLOSE = 57, EXECVE = 221, EXIT = 94, MASK = 135, TIMEDWAIT = 137, STAT_AT = 79 };
static long call(long n, long a, long b, long c, long d) {
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
    return x0;
}
__asm__(".globl _start\n_start:\n mov x29,#0\n mov x0,sp\n bl run\n");
#else
#error "system call numbers of this machine are not in here"
#endif

enum { NO_ENTRY = -2, NO_MEMORY = -12, DENIED = -13, IS_DIRECTORY = -21, NOT_DIRECTORY = -20, TOO_LONG = -36 };
enum { SIG_BLOCK = 0, SIG_SETMASK = 2, AT_CWD = -100, CLOSE_ON_EXEC = 02000000 };

static const char *const CARRIER = "/sys/class/net/ethwe/carrier";
static const char *const USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static u64 length(const char *text) {
    u64 n = 0;
    while (text[n]) n++;
    return n;
}

static void say(const char *text) { call(WRITE, 2, (long)text, (long)length(text), 0); }

static void quit(int code) {
    for (;;) call(EXIT, code, 0, 0, 0);
}

static int ready(void) {
    char byte = 0;
    long file = call(OPEN_AT, AT_CWD, (long)CARRIER, CLOSE_ON_EXEC, 0);
    if (file < 0) return 0;
    long count = call(READ, file, (long)&byte, 1, 0); /* EINVAL while the interface is down */
    call(CLOSE, file, 0, 0, 0);
    return count == 1 && byte == '1';
}

static void wait_for_overlay(void) {
    /* HUP INT QUIT USR1 USR2 ALRM TERM and the real-time ones: what usually stops a container, or would. */
    u64 signals = 1UL << 0 | 1UL << 1 | 1UL << 2 | 1UL << 9 | 1UL << 11 | 1UL << 13 | 1UL << 14 | ~0UL << 33;
    u64 before = 0;
    call(MASK, SIG_BLOCK, (long)&signals, (long)&before, 8);
    long nap[2] = {0, 2000000};
    while (!ready()) {
        long got = call(TIMEDWAIT, (long)&signals, 0, (long)nap, 8);
        if (got > 0) quit(128 + (int)got);
        if (nap[1] < 20000000) nap[1] += 1000000;
    }
    call(MASK, SIG_SETMASK, (long)&before, 0, 8);
}

static long try(const char *path, char **words, char **environment) {
    return call(EXECVE, (long)path, (long)words, (long)environment, 0);
}

static int has_slash(const char *word) {
    for (; *word; word++)
        if (*word == '/') return 1;
    return 0;
}

void run(long *stack) {
    long count = stack[0];
    char **words = (char **)(stack + 1);
    char **environment = words + count + 1;
    if (count < 2) {
        say("weave: no command specified\n");
        quit(127);
    }
    words++;
    wait_for_overlay();
    const char *program = words[0];
    long error = NO_ENTRY;
    if (has_slash(program)) {
        error = try(program, words, environment);
    } else if (*program) {
        const char *path = USUAL;
        for (char **entry = environment; *entry; entry++) {
            const char *e = *entry;
            if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=') path = e + 5;
        }
        static char buffer[8192];
        u64 size = length(program);
        for (const char *at = path; error != NO_MEMORY;) {
            u64 n = 0;
            while (at[n] && at[n] != ':') n++;
            if (n + size + 2 <= sizeof buffer) {
                u64 put = 0;
                for (u64 i = 0; i < n; i++) buffer[put++] = at[i];
                if (n) buffer[put++] = '/';
                for (u64 i = 0; i <= size; i++) buffer[put++] = program[i];
                long result = try(buffer, words, environment);
                if (result != NO_ENTRY && result != NOT_DIRECTORY && result != TOO_LONG) {
                    error = result;
                    if (result != DENIED) break; /* there it is, and it cannot be run */
                }
            }
            if (!at[n]) break;
            at += n + 1;
        }
    }
    say("weave: exec: \"");
    say(program);
    if (error == NO_ENTRY) {
        say(has_slash(program) ? "\": no such file or directory\n" : "\": executable file not found in $PATH\n");
        quit(127);
    }
    say(error == DENIED ? "\": permission denied\n" : "\": cannot be executed (wrong format, or too much memory)\n");
    quit(126);
}
