#!/usr/bin/env bash
# The sweep on machines that Slurm gives: sbatch --nodes 4 docs/cluster/slurm.sh [options of sweeps/full.py]
#
# Submit it again to go on or to extend. It needs a folder that all nodes share (the repository lies in one, with its
# .venv) and Slurm's signal a few minutes before the end, after which the sweep stops as after Ctrl-C.
#SBATCH --job-name=ablation-sweeps
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=4G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@180
#SBATCH --output=%x-%j.log
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?submit it with sbatch, from the repository}"
source .venv/bin/activate

RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token
cpus=${SLURM_CPUS_PER_TASK:-1}
export SRUN_CPUS_PER_TASK=$cpus # srun does not take it over by itself
port=$((20000 + SLURM_JOB_ID % 10000)) # other people's clusters may be on the same nodes
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# Ray would take a share of the whole node's memory for objects, of which a sweep has few
resources=(--num-gpus "${SLURM_GPUS_ON_NODE:-0}" --object-store-memory 1000000000 --disable-usage-stats --block)

# a core of the first node is the driver's
srun --nodes 1 --ntasks 1 --nodelist "$head" \
  ray start --head --port "$port" --include-dashboard false --num-cpus $((cpus > 1 ? cpus - 1 : 1)) "${resources[@]}" &
if ((SLURM_JOB_NUM_NODES > 1)); then
  srun --nodes $((SLURM_JOB_NUM_NODES - 1)) --ntasks $((SLURM_JOB_NUM_NODES - 1)) --exclude "$head" \
    bash -c "until ray health-check --address $head:$port; do sleep 2; done; exec ray start --address $head:$port --num-cpus $cpus ${resources[*]}" &
fi

alive="import ray; ray.init('$head:$port', log_to_driver=False); print(sum(node['Alive'] for node in ray.nodes()))"
joined=0
while ((joined < SLURM_JOB_NUM_NODES)); do
  if ((SECONDS > 600)); then
    echo "after ten minutes $joined of $SLURM_JOB_NUM_NODES nodes have joined" >&2
    exit 1
  fi
  sleep 2
  joined=$(python -c "$alive" 2>/dev/null | tail -n 1) || joined=0 # not up yet
done
python sweeps/full.py --address "$head:$port" --storage-path "$PWD/sweep-storage" "$@" &
sweep=$!
trap 'kill -TERM $sweep' TERM
wait $sweep || wait $sweep # the first wait ends when the signal comes, the second when the sweep has stopped
