#!/bin/bash
#SBATCH --job-name=colonnade
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --exclusive
#SBATCH --time=7-00:00:00
# A Ray cluster for as long as the job lasts, and the agent on its first node. The folder of the virtual environment and
# the models are on a disk that all nodes see; STATE is on each node's own.
set -euo pipefail
source /shared/colonnade/.venv/bin/activate
STATE=/var/tmp/colonnade-$USER
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$HOME/.ray/auth_token # made once: ray get-auth-token --generate
PORT=6379

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
address_of() { srun --nodes=1 --ntasks=1 --nodelist="$1" hostname --ip-address | awk '{print $1}'; }
head=$(address_of "${nodes[0]}")

srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" \
  ray start --head --block --port "$PORT" --node-ip-address "$head" --disable-usage-stats &
until ray health-check --address "$head:$PORT" 2>/dev/null; do sleep 1; done
for node in "${nodes[@]:1}"; do
  srun --overlap --nodes=1 --ntasks=1 --nodelist="$node" \
    ray start --block --address "$head:$PORT" --node-ip-address "$(address_of "$node")" --disable-usage-stats &
done
srun --overlap --nodes=1 --ntasks=1 --nodelist="${nodes[0]}" \
  python -m colonnade.fleet agent --home "$STATE" --cluster-file "$HOME/colonnade/cluster.yaml" \
  --control https://control.example:8443 --token-file "$HOME/colonnade/enrol.token" &
wait -n
