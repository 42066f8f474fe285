#!/usr/bin/env bash
# The whole path of one real job: measure it, plan it, run it under a cap, account for it.
# State goes to .demo/ and the job's own packages to examples/sentiment/.venv: nothing else is touched.
set -euo pipefail
cd "$(dirname "$0")/.."
export MLBROKER_HOME="$PWD/.demo"
PATH="$PWD/.venv/bin:$PATH"

job=examples/sentiment/job.yaml

say() { printf '\n# %s\n' "$*"; }
show() {
    printf '$ %s\n' "$*"
    "$@"
}

say "1. Measure: how long does a step of this job take here? (Its set-up is part of it, once.)"
show mlbroker profile "$job" --on local --yes

say "2. Plan: which machine of three clouds does it in time for the least money?"
show mlbroker plan "$job"

say "3. Run: here, as if this machine cost 0.10 USD an hour, and never for more than a cent."
show mlbroker run "$job" --on local --local-price 0.10 --budget 0.01 --yes

say "4. Account: what was reserved, and what was spent?"
show mlbroker ledger

say "5. Plan again: the run was a measurement too, and was held against what was predicted."
show mlbroker plan "$job"
show mlbroker profile show "$job"
model="$(ls -d "$MLBROKER_HOME"/runs/*/outputs/model.joblib | tail -n 1)"
say "The model is in ${model#"$PWD"/}"

say "6. Report: what was saved against the usual machine, and the same as a page to look at."
show mlbroker report --html "$MLBROKER_HOME/report.html"

say "Done. To try more of it by hand: export MLBROKER_HOME=.demo PATH=.venv/bin:\$PATH"
