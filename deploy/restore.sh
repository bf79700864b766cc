#!/bin/sh
# Write the records of a backup to the Redis of the service's settings.
#
#   deploy/restore.sh DIRECTORY
#
# A record that is there already is replaced by the backup's; one that the backup does not have
# stays, and so does the block of a station that has been blocked since. Repeat it when it was
# interrupted. PROGRAM names the csms-redis to use. Exit codes: 0, all
# is written; 3, but for the rows in DIRECTORY/*.rejects; else it failed.
set -eu
umask 077
program=${PROGRAM:-csms-redis}
if [ $# -ne 1 ] || [ -z "$1" ]; then
    echo "usage: restore.sh DIRECTORY" >&2
    exit 2
fi
for kind in stations tokens certificates; do
    if [ ! -r "$1/$kind.jsonl" ]; then
        echo "restore.sh: $1 has no $kind.jsonl: it is no backup" >&2
        exit 1
    fi
done

rejected=0
for kind in stations tokens certificates; do
    status=0
    "$program" import --replace "$kind" "$1/$kind.jsonl" || status=$?
    case $status in
    0) ;;
    3) rejected=3 ;;
    *) exit "$status" ;;
    esac
done
exit "$rejected"
