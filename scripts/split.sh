#!/usr/bin/env bash
# The same program as five processes on this machine: a gateway and one per module, each with its own
# folder and, but for the gateway, its own PostgreSQL; events travel by a nats-server of their own, on which
# each has a user with the rights that it needs. Everything lies in data/split; Ctrl-C stops it.
#
#   scripts/split.sh [--with-analytics] [PROGRAM]      target/debug/banyan unless told
#
# --with-analytics starts examples/analytics beside them, and a route to it.
set -euo pipefail
cd "$(dirname "$0")/.."

with_analytics= program=target/debug/banyan
for argument in "$@"; do
    case $argument in
    --with-analytics) with_analytics=yes ;;
    -*)
        sed -n 's/^# \{0,1\}//; 2,/^set/{/^set/!p}' "$0"
        [ "$argument" = --help ] && exit 0 || exit 2
        ;;
    *) program=$argument ;;
    esac
done
if [ ! -x "$program" ]; then
    echo "$program is no program: \`cargo build\` makes target/debug/banyan" >&2
    exit 1
fi
[ -z "$with_analytics" ] || scripts/install-analytics.sh
data=data/split
modules=(identity profile notification logging)

mkdir -p "$data"
mkdir -p -m 700 "$data/services" "$data/nats_users"

# Writes a secret, for its owner alone. The folders around it stay open: PostgreSQL's user has to enter.
secret() {
    (umask 077 && cat >"$1")
}
[ -s "$data/sealing_key" ] || openssl rand -base64 32 | secret "$data/sealing_key"

for port in 4222 8080 8081 8082 8083 8084 ${with_analytics:+8095} 8222 9080 9081 9082 9083 9084; do
    if (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
        echo "port $port is in use: stop what listens there" >&2
        exit 1
    fi
done

pids=()
stop() {
    trap - EXIT INT TERM
    # The gateway first, so that nobody is sent to a module that has gone; the broker last.
    for ((n = ${#pids[@]} - 1; n >= 0; n--)); do
        kill "${pids[n]}" 2>/dev/null || true
        wait "${pids[n]}" 2>/dev/null || true
    done
    echo "stopped"
}
trap stop EXIT
trap 'exit 0' INT TERM

# A program of ours that Ctrl-C does not reach by itself: it is stopped in its turn.
start() {
    local name=$1
    shift
    # A setup code stands in it while there is no administrator.
    (umask 077 && : >"$data/$name.log")
    setsid "$@" >"$data/$name.log" 2>&1 &
    pids+=($!)
}

# Waits until the address answers, or its process has ended.
answers() {
    local name=$1 url=$2 pid=${pids[-1]}
    until curl -fsS -o /dev/null --max-time 2 "$url" 2>/dev/null; do
        if ! kill -0 "$pid" 2>/dev/null; then
            echo "$name has ended; the last of $data/$name.log:" >&2
            tail -n 20 "$data/$name.log" >&2
            exit 1
        fi
        sleep 0.1
    done
}

export BANYAN_ENV=${BANYAN_ENV:-development}

# config/split/nats.conf takes the passwords from the environment of nats-server, and of nothing else.
passwords=()
for user in gateway "${modules[@]}" operator analytics; do
    file=$data/nats_users/$user
    # A letter first, or nats-server could take it for a number.
    [ -s "$file" ] || echo "x$(openssl rand -hex 24)" | secret "$file"
    export "${user^^}_PASSWORD=$(<"$file")"
    passwords+=("${user^^}_PASSWORD")
done
start nats "${BANYAN_NATS_SERVER:-nats-server}" -c config/split/nats.conf \
    -a 127.0.0.1 -p 4222 -m 8222 -js -sd "$data/nats"
unset "${passwords[@]}"
answers nats http://127.0.0.1:8222/healthz

# Each process is a service, to ship its log records; identity knows them before they start.
banyan() {
    "$program" --config "config/split/$1.toml" "${@:2}"
}
echo "preparing identity"
banyan identity migrate >/dev/null
for name in gateway identity profile notification; do
    banyan identity service create "$name" --name "The process $name" \
        --scope logs:write --scope logs:write:internal --secret-file "$data/services/$name" >/dev/null
done

gateway=config/split/gateway.toml
if [ "$with_analytics" ]; then
    banyan identity service create analytics --name "Analytics" \
        --scope logs:write --secret-file "$data/services/analytics" >/dev/null
    gateway=$data/gateway.toml
    cat config/split/gateway.toml examples/analytics/route.toml >"$gateway"
fi

port=8081
for name in "${modules[@]}"; do
    echo "starting $name"
    service=("BANYAN__SERVICE__ID=$name" "BANYAN__SERVICE__SECRET_FILE=$data/services/$name")
    [ "$name" = logging ] && service=()
    start "$name" env "${service[@]}" "$program" --config "config/split/$name.toml" serve
    answers "$name" "http://127.0.0.1:$port/health/live"
    port=$((port + 1))
done
if [ "$with_analytics" ]; then
    echo "starting analytics"
    export PYTHONPATH=examples/analytics ANALYTICS_DATABASE="$data/analytics.db" \
        ANALYTICS_SECRET_FILE="$data/services/analytics"
    python=examples/analytics/.venv/bin/python
    ANALYTICS_NATS_USER=operator ANALYTICS_NATS_PASSWORD_FILE=$data/nats_users/operator \
        "$python" -m analytics provision
    start analytics env ANALYTICS_NATS_PASSWORD_FILE="$data/nats_users/analytics" "$python" -m analytics
    answers analytics http://127.0.0.1:8095/healthz
fi
echo "starting gateway"
start gateway env BANYAN__SERVICE__ID=gateway "BANYAN__SERVICE__SECRET_FILE=$data/services/gateway" \
    "$program" --config "$gateway" serve
answers gateway http://127.0.0.1:8080/health/ready
until curl -fsS http://127.0.0.1:8080/health/ready | grep -qv down; do
    sleep 0.1
done

cat <<END

Banyan runs as five processes: http://localhost:8080
  health         http://localhost:8080/health/ready
  mailbox        http://localhost:8080/dev/mailbox
  identity       http://127.0.0.1:8081
  profile        http://127.0.0.1:8082
  notification   http://127.0.0.1:8083
  logging        http://127.0.0.1:8084
  metrics        http://127.0.0.1:9080/metrics, and on 9081 to 9084
  NATS           nats://127.0.0.1:4222, http://127.0.0.1:8222
  logs           $data/*.log
  commands       BANYAN_ENV=$BANYAN_ENV BANYAN_CONFIG=config/split $program user list
${with_analytics:+  analytics      http://localhost:8080/analytics/sign-in, for an administrator
}$(grep -h "with the code" "$data/identity.log" | sed 's/^ */  /' || true)
Ctrl-C stops them all.
END

# Until one ends, or somebody stops this: a signal interrupts a wait.
wait -n "${pids[@]}" || true
echo "one of the processes has ended: see $data/*.log" >&2
