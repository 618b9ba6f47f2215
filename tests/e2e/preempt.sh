#!/usr/bin/env bash
# A more important run takes a running one's place, and a drain stops it once more: it saves, waits and goes on, and ends
# with the models of the run that nobody disturbed. A run whose time is up saves, fails, and can be tried again.
. "$(dirname "$0")/lib.sh"
make_recordings
write_job 40
expect 0 "${mpirun[@]}" -np 2 "$ISLRD" run "$scratch/job.yaml" --threads 1 --out "$scratch/whole"

start server "$ISLRD" serve --dir "$scratch/server" --socket "$scratch/socket" --preempt-after-seconds 0.2
start_workers
until_true 30 "two workers" workers_up 2

reason_of() { ctl show "$1" --json | json reason; }
attempts_of() { ctl show "$1" --json | json attempts | grep -o "'number'" | wc -l; }
outcome_of() { ctl show "$1" --json | json attempts "$2" outcome; }
has_trained() { [ "$(ctl show "$1" --json | json step)" -ge "$2" ]; }

submit resources.ranks=2
low=$run
until_true 60 "the first run trains" has_trained "$low" 3
submit resources.ranks=2 train.epochs=2 --priority 5 --name urgent
urgent=$run
expect 0 ctl wait "$urgent" --timeout "$(within 120)"
[ "$(state_of "$low")" != succeeded ] || fail "the first run was not in the way"
[ "$(outcome_of "$low" 0)" = stopped ] || fail "the first run's attempt: $(outcome_of "$low" 0)"

# It comes back by itself; then the drain.
until_true 60 "it goes on" eval '[ "$(state_of $low)" = running ]'
expect 0 ctl drain --now
until_true 60 "it has saved and waits" eval '[ "$(state_of $low)" = queued ]'
reason_of "$low" | grep -q 'scheduling is paused: drained by' || fail "it waits because: $(reason_of "$low")"
ctl status | grep -q 'no more runs are started: drained by' || fail "status does not tell of the drain"
submit resources.ranks=1 train.epochs=2 --hold # taken all the while
expect 0 ctl resume-scheduling
expect 0 ctl wait "$low" --timeout "$(within 120)"

[ "$(attempts_of "$low")" = 3 ] || fail "$(attempts_of "$low") attempts instead of 3"
check_metrics "$low" "$steps"
expect 0 ctl pull "$low:all" -o "$scratch/pulled"
for model in student teacher distilled soup; do
    one=$(sha256sum <"$scratch/whole/final/$model.safetensors")
    two=$(sha256sum <"$(find "$scratch/pulled" -name "$model.safetensors" -not -path '*epoch*')")
    [ "$one" = "$two" ] || fail "$model differs from the undisturbed run's"
done

# Time: it saves, fails for that reason, is not tried again by itself, and goes on when asked to.
submit resources.ranks=2 train.epochs=4000 limits.minutes="$(bound 6 | awk '{ print $1 / 60 }')"
until_true 60 "its time is up" eval '[ "$(state_of $run)" = failed ]'
reason_of "$run" | grep -q 'limits.minutes' || fail "it failed because: $(reason_of "$run")"
[ "$(attempts_of "$run")" = 1 ] || fail "a run whose time was up was tried again"
ctl checkpoints "$run" --json | grep -q '"what": *"resume"' || fail "it has not saved where it was"
expect 0 ctl retry "$run"
until_true 60 "it goes on" eval '[ "$(attempts_of $run)" = 2 ]'
[ "$(ctl show "$run" --json | json attempts 1 resumed_from_step)" -gt 0 ] || fail "it began anew"

# What is not there is said so.
for verb in cancel hold release retry; do
    expect 3 ctl $verb 4711
    said 'there is no run 4711'
done
expect 3 ctl set 4711 priority=3
expect 2 ctl set "$urgent" priority=3
said 'succeeded'

# Limits hold at once, and what was used is shown.
expect 0 ctl limits --everyone running=8 queued=1 # one waits: it is held
expect 5 ctl submit "$scratch/job.yaml"
said 'runs waiting, .* the limit is 1'
expect 2 ctl limits running=8
said 'whose limits'
expect 2 ctl limits --everyone runing=8
said "'runing' is no limit"
[ "$(ctl limits --json | json users 0 limits running)" = 8 ] || fail "limits does not show what was set"
python3 -c "import sys; sys.exit(not $(ctl limits --json | json users 1 used_seconds) > 1)" ||
    fail "limits does not show what was used"
