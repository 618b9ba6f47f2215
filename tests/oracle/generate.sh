#!/bin/sh
# Checks the oracle against foreign code, then writes every golden file again (a few minutes on one core).
# usage: tests/oracle/generate.sh [PYTHON]     PYTHON has the packages of requirements.txt
set -eu
python=${1:-python3}
cd "$(dirname "$0")"
export PYTHONDONTWRITEBYTECODE=1
for script in check_model check_recipe unit_goldens augment_goldens prepare_goldens model_goldens train_goldens \
    scale_goldens; do
    echo "== $script"
    "$python" $script.py
done
