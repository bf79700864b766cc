#!/bin/sh
# Starts one sentinel, with what it knew when it ended. POD_NAME says which it is.
set -eu
umask 077
secrets=/run/secrets/valkey
run=/run/valkey
conf=/data/sentinel.conf

secret() { cat "$secrets/$1"; }
digest() { printf %s "$(secret "$1")" | sha256sum | cut -c 1-64; }
quoted() { secret "$1" | sed 's/[\\"]/\\&/g'; }

# The passwords' hashes go by a file: a list of processes shows arguments.
for name in sentinel-password sentinel-user-password; do
    printf 's/{%s}/%s/\n' "$name" "$(digest "$name")"
done > "$run/hashes"
sed -f "$run/hashes" /etc/valkey/sentinel-users.acl > "$run/users.acl"

# Settings are the new ones, also after a change; its identity, the master and whom it has met are
# those that it wrote itself.
known='^sentinel (myid|monitor|current-epoch|config-epoch|leader-epoch|known-replica|known-sentinel) '
{
    if [ -e "$conf" ] && grep -q '^sentinel monitor ' "$conf"; then
        grep -v '^sentinel monitor ' /etc/valkey/sentinel.conf
        grep -E "$known" "$conf"
    else
        cat /etc/valkey/sentinel.conf
    fi
    echo "sentinel announce-ip $POD_NAME.sentinel"
    printf 'sentinel auth-pass mymaster "%s"\n' "$(quoted sentinel-user-password)"
    printf 'sentinel sentinel-pass "%s"\n' "$(quoted sentinel-user-password)"
} > "$conf.new"
mv "$conf.new" "$conf"
exec valkey-server "$conf" --sentinel
