#!/bin/sh
# Write every record into a new directory, which only you may read: it holds password hashes.
#
#   deploy/backup.sh DIRECTORY
#
# It reads the Redis of the service's settings (CSMS_CONFIG, CSMS_REDIS__URL …). PROGRAM names the
# csms-redis to use. Exit codes: 0, all is there; 3, all but what is not this program's; else it
# failed, and there is no DIRECTORY.
set -eu
umask 077
program=${PROGRAM:-csms-redis}
if [ $# -ne 1 ] || [ -z "$1" ]; then
    echo "usage: backup.sh DIRECTORY" >&2
    exit 2
fi
if [ -e "$1" ]; then
    echo "backup.sh: $1 is there already" >&2
    exit 1
fi
partial=$1.partial.$$
mkdir -- "$partial"
trap 'rm -rf -- "$partial"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

left_out=0
save() {
    status=0
    "$program" export "$@" || status=$?
    case $status in
    0) ;;
    3) left_out=3 ;;
    *) exit "$status" ;;
    esac
}
save stations "$partial/stations.jsonl" --with-credentials
save tokens "$partial/tokens.jsonl"
save certificates "$partial/certificates.jsonl"
mv -- "$partial" "$1"
exit "$left_out"
