#!/bin/sh
# Starts one Valkey of the set, as the master or as a replica of it. POD_NAME says which it is.
set -eu
umask 077
secrets=/run/secrets/valkey
run=/run/valkey
conf=/data/valkey.conf
self=$POD_NAME.valkey

secret() { cat "$secrets/$1"; }
digest() { printf %s "$(secret "$1")" | sha256sum | cut -c 1-64; }

# ask HOST PORT WORD...: what a server says, nothing where it does not answer
ask() {
    host=$1 port=$2
    shift 2
    REDISCLI_AUTH=$(secret sentinel-user-password) timeout 3 valkey-cli --tls \
        --cacert /run/tls/ca.crt -h "$host" -p "$port" --user sentinel "$@" 2>/dev/null || true
}

# The passwords' hashes go by a file: a list of processes shows arguments.
for name in redis-password replica-password sentinel-user-password; do
    printf 's/{%s}/%s/\n' "$name" "$(digest "$name")"
done > "$run/hashes"
sed -f "$run/hashes" /etc/valkey/valkey-users.acl > "$run/users.acl"

# Who is the master: what two sentinels say; else, when all start together, what this one was when it
# ended; else, in a new set, the first.
agreed=$(
    for number in 0 1 2; do
        ask "sentinel-$number.sentinel" 26379 sentinel get-master-addr-by-name mymaster | head -n 1
    done | sort | uniq -c | awk '$1 >= 2 && NF == 2 { print $2 }'
)
if [ -n "$agreed" ]; then
    master=$agreed
elif [ -e "$conf" ]; then
    master=$(awk '$1 == "replicaof" || $1 == "slaveof" { print $2 }' "$conf")
    master=${master:-$self}
else
    master=valkey-0.valkey
fi

# A master that has lost its volume would make its replicas lose their records too. They are asked
# only then: it waits until the sentinels have made one of them the master.
if [ "$master" = "$self" ] && [ ! -e "$conf" ]; then
    for number in 0 1 2; do
        other=valkey-$number.valkey
        if [ "$other" != "$self" ] && ask "$other" 6379 info keyspace | grep -q '^db'; then
            echo "$self has no records, and $other has: it waits until that is the master" >&2
            exit 1
        fi
    done
fi

{
    echo "include /etc/valkey/valkey.conf"
    echo "replica-announce-ip $self"
    printf 'masterauth "%s"\n' "$(secret replica-password | sed 's/[\\"]/\\&/g')"
    [ "$master" = "$self" ] || echo "replicaof $master 6379"
} > "$conf.new"
mv "$conf.new" "$conf"
exec valkey-server "$conf"
