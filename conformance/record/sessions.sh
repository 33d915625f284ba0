#!/usr/bin/env bash
# sessions.sh OUT CERT KEY: `moqt` publishes, subscribes, fetches and joins through aiomoqt's relay
# on each draft, and what goes over the wire is stored in OUT/d14, OUT/d16 and OUT/d18.
# MOQT names the command; python3 must find aiomoqt.
set -eu
out=$1 cert=$2 key=$3
moqt=${MOQT:-moqt}
here=$(dirname "$0")
lines() { for n in $(seq 1 "$1"); do echo "object $n of a track that is published to be recorded"; done; }
for draft in 14 16 18; do
    port=$((7400 + draft))
    timeout 60 python3 "$here/relay.py" "$out/d$draft" "$draft" --bind 127.0.0.1 --port $port --dual \
        --cert "$cert" --key "$key" & relay=$!
    sleep 3
    common="moqt://127.0.0.1:$port -k -n recorded --draft $draft"
    for how in "" "-D" "-P 3"; do
        track=${how//[- ]/}x
        # The publisher first: the relay refuses tracks that it does not know.
        (sleep 2; lines 60; sleep 4) | timeout 20 "$moqt" pub $common --trackname "$track" --lines \
            -g 10 -r 100 $how --pub-both --auth-token secret - & publisher=$!
        sleep 1.2
        timeout 9 "$moqt" sub $common --trackname "$track" --gap-timeout 1 >/dev/null & subscriber=$!
        sleep 3
        timeout 5 "$moqt" fetch $common --trackname "$track" --range 1.2..3.8 >/dev/null || true
        timeout 5 "$moqt" fetch $common --trackname missing --range 1.2..3.8 >/dev/null || true
        timeout 5 "$moqt" join $common --trackname "$track" --from 0 >/dev/null || true
        wait $publisher $subscriber || true
    done
    kill -TERM $relay
    wait $relay || true
done
