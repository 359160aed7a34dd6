#!/usr/bin/env bash
# Usage: tests/slurm.sh
# Summary: A real Slurm, two nodes on the loopback: it takes the job of every recipe; the rehearsal's job is pre-empted,
#   then
#   loses its node, and ends as a packaged run; two nodes train as one.
# Reads: munged, slurmctld, slurmd (Debian: slurm-wlm); being root.
# Writes: a throw-away folder below .repro/, deleted at the end (KEEP=1 keeps it).
# Guarantees: daemons, keys and ports of its own; none of them is left running.
# Exit: 0 so it is · 3 Slurm is not installed, or this is not root · not 0 otherwise

set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
work=$PWD/.repro/test-slurm
export SLURM_CONF=$work/slurm.conf PUBLISH_TO_KAGGLE=0 KNOBS_WITHOUT_LOCAL=1
host=$(hostname -s)

main() {
  local name
  for name in munged slurmctld slurmd sbatch; do
    type -P "$name" >/dev/null || { echo "error: $name is not installed: apt-get install slurm-wlm" >&2 && exit 3; }
  done
  ((EUID == 0)) || { echo "error: the daemons of a cluster need root" >&2 && exit 3; }
  stop_cluster # of a killed attempt
  rm -rf "$work"
  trap 'stop_cluster; [[ -n ${KEEP-} ]] || rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  runbook
  start_cluster
  every_recipe
  rehearsal
  two_nodes
}

# The runbook, with the tool environment of this one.
runbook() {
  mkdir -p "$work/runbook"
  git ls-files -z --cached --others --exclude-standard |
    tar --null --files-from=- --ignore-failed-read -c | tar -C "$work/runbook" -x
  ln -s "$PWD/.venv" "$work/runbook/.venv"
  cd "$work/runbook"
}

# Nodes as large as the recipes ask for; a GPU is a device that nobody opens.
start_cluster() {
  local node i
  mkdir -p "$work"/{munge,state,spool,gpus}
  chmod 700 "$work/munge"
  (umask 077 && head -c 1024 /dev/urandom >"$work/munge/key")
  for i in {0..7}; do mknod "$work/gpus/$i" c 1 3; done
  echo "Name=gpu File=$work/gpus/[0-7]" >"$work/gres.conf"
  cat >"$SLURM_CONF" <<CONF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
AuthInfo=socket=$work/munge/socket
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool/%n
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/%n.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
SlurmdParameters=config_overrides
SlurmdTimeout=15
ReturnToService=2
KillWait=30
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 Port=16821 CPUs=64 RealMemory=1000000 Gres=gpu:8
NodeName=node2 NodeHostname=$host NodeAddr=127.0.0.1 Port=16822 CPUs=64 RealMemory=1000000 Gres=gpu:8
PartitionName=low Nodes=node1 Default=YES MaxTime=INFINITE PriorityTier=1
PartitionName=high Nodes=node1 MaxTime=INFINITE PriorityTier=2 PreemptMode=off
PartitionName=both Nodes=node[1-2] MaxTime=INFINITE PriorityTier=1
CONF
  munged --force --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
    --log-file="$work/munge/log" --seed-file="$work/munge/seed"
  slurmctld
  for node in node1 node2; do slurmd -N "$node"; done
  wait_for 30 'the nodes' '[[ $(sinfo --noheader --partition both --states idle --format %D) == 2 ]]'
}

# The daemons by their own pid files, and what they still run.
stop_cluster() {
  local file pid
  scancel --user root 2>/dev/null || true
  for file in "$work"/node1.pid "$work"/node2.pid "$work"/slurmctld.pid "$work"/munge/pid; do
    pid=$(cat "$file" 2>/dev/null) || continue
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
  done
  ps -eo pid,args | awk -v work="$work" 'index($0, work) && !/awk/ { print $1 }' |
    xargs --no-run-if-empty kill -KILL 2>/dev/null || true
}

# wait_for SECONDS WHAT CONDITION
wait_for() {
  local end=$((SECONDS + $1))
  until eval "$3"; do
    ((SECONDS < end)) ||
      { echo "error: $2: not after $1 seconds" >&2 && tail -n 15 "$work"/*.log ./*.log >&2 && exit 1; }
    sleep 0.5
  done
}

every_recipe() {
  local recipe count=0
  for recipe in $(cd recipes && printf '%s\n' *.yaml | sed 's/\.yaml$//'); do
    .venv/bin/trm-repro job slurm --recipe "$recipe" >"$recipe.sh"
    sbatch --test-only "$recipe.sh" 2>"$recipe.said" || { cat "$recipe.said" >&2 && exit 1; }
    count=$((count + 1))
  done
  echo "sbatch --test-only took the jobs of $count recipes"
}

rehearsal() {
  local job state log
  job=$(sbatch --parsable arc2-rehearsal.sh)
  log=slurm-arc2-rehearsal-$job.log
  trains 1
  sbatch --quiet --partition high --exclusive --output /dev/null --wrap true # takes the whole node
  wait_for 400 'the pre-emption' "grep -q 'attempt 2' $log"
  echo "pre-empted in the middle of training, and put back into the queue"
  trains 2
  lose_node node1
  wait_for 400 'the node to be missed' "scontrol show job $job | grep -q 'JobState=PENDING'"
  slurmd -N node1
  echo "lost its node in the middle of training, and was put back into the queue"
  wait_for 3600 'the job' "! squeue --noheader --jobs $job 2>/dev/null | grep -q ."
  state=$(scontrol show job "$job" | grep -o 'JobState=[A-Z_]*')
  [[ $state == JobState=COMPLETED ]] || { echo "error: $state" >&2 && cat "$log" >&2 && exit 1; }
  grep -o 'node .*, attempt .*' "$log"
  # the warning and the pre-emption reach the training by two ways, and either may be first
  grep 'the last attempt at training did not finish: it was stopped (SIG\(TERM\|INT\))' "$log"
  for step in 01-sanity 02-clone 03-venv 04-dataset; do
    [[ $(grep -c "^$step: fresh" "$log") == 2 ]] ||
      { echo "error: $step was not fresh in attempts 2 and 3" >&2 && cat "$log" >&2 && exit 1; }
  done
  RECIPE=arc2-rehearsal make verify
}

# trains ATTEMPT: waits until that attempt is in the middle of training, as its own lines of the log say.
trains() {
  wait_for 1800 "attempt $1 to train" \
    "sed -n '/attempt $1\$/,\$p' $log 2>/dev/null | grep -q 'training arc2_rehearsal: [1-9]'"
}

# lose_node NAME: kill -9 of all that runs there: its slurmd, the daemons of its jobs (by the log they write), their
# processes.
lose_node() {
  local pids=("$(<"$work/$1.pid")") pid
  for pid in $(pgrep -x slurmstepd); do
    [[ -z $(find "/proc/$pid/fd" -lname "$work/$1.log") ]] || pids+=("$pid")
  done
  while read -r pid; do pids+=("$pid"); done < <(grep -lsz "^SLURMD_NODENAME=$1\$" /proc/[0-9]*/environ | cut -d/ -f3)
  kill -KILL "${pids[@]}"
}

# The line of docs/machines.md, on the rehearsal's data: as a whole; and with a node lost, and resumed.
two_nodes() {
  local final broken train=(srun --quiet --partition both --nodes 2 --ntasks-per-node 1 --cpus-per-task 1 --mem 2G
    .venv/bin/torchrun --nnodes 2 --nproc-per-node 1 --rdzv_backend=c10d --rdzv_id=run --rdzv_endpoint=127.0.0.1:29533
    -m trm_repro.engine.pretrain arch=trm 'data_paths=[.repro/work/data/arc2-rehearsal-aug-8]' 'evaluators=[]' ema=True
    global_batch_size=8 epochs=2 eval_interval=2 arch.hidden_size=64 arch.num_heads=2 arch.L_cycles=2
    arch.halt_max_steps=2 arch.forward_dtype=float32 ++checkpoint_every_n_steps=2)
  "${train[@]}" +run_name=whole >whole.log 2>&1 || { cat whole.log >&2 && exit 1; }
  "${train[@]}" +run_name=broken >broken.log 2>&1 &
  broken=$!
  wait_for 900 'two nodes to train' '[[ $(cat checkpoints/*/broken/metrics.jsonl 2>/dev/null | wc -l) -gt 4 ]]'
  lose_node node2
  ! wait "$broken" || { echo "error: a node was lost, and the run ended well" >&2 && exit 1; }
  slurmd -N node2
  wait_for 60 'the nodes' '[[ $(sinfo --noheader --partition both --states idle --format %D) == 2 ]]'
  "${train[@]}" +run_name=broken ++resume=True >resumed.log 2>&1 || { cat resumed.log >&2 && exit 1; }
  grep -h 'resuming after' resumed.log
  final=$(printf '%s\n' checkpoints/*/whole/step_* | sed -n 's/.*step_\([0-9]*\)$/\1/p' | sort -n | tail -1)
  cmp checkpoints/*/{whole,broken}/"step_$final"
  echo "two nodes: a lost one ends the run, and the resumed run is the whole one, bit for bit"
}

main "$@"
