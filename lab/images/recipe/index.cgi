#!/bin/sh
# The one page.
address=$(ip -4 -o addr show dev eth0 2>/dev/null | sed -n 's/.* inet \([0-9.]*\).*/\1/p' | head -n 1)
printf "Content-Type: text/plain; charset=utf-8\r\n\r\nHi! I'm [%s] service and my Docker container's IP is [%s]\n" \
    "$NAME" "$address"
