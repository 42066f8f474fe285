"""Texts of job files: two good ones, and many that must be refused, with what is said."""

FULL = """\
name: bert-ft
workdir: .
num_nodes: 2
resources:
  any_of: [{accelerators: L4:1}, {accelerators: A100:1}, {cpus: 8+}]
envs: {EPOCHS: "3", LR: 1e-3, COUNTRY: NO}
secrets: {HF_TOKEN: null}
setup: pip install -r requirements.txt
run: python train.py
broker:
  deadline: 6h
  confidence: 0.95
  budget: 25 USD
  work: {epochs: 3, steps_per_epoch: 4000}
  checkpoint: {path: ckpt/, every: 10m}
  profile: {max_cost: 2 USD, max_time: 5m}
  data: {input_gb: 40, output_gb: 1.5, at: aws/us-east-1}
  objective: {usd_per_kg_co2e: 0.1}
  runs_per_month: 30
  spot: {policy: value-index}
  progress: 'step (\\d+)/'
  outputs: [model.bin, 'runs/**/*.json']
  queue: {team: vision, value_of_time: 2 USD/h}
  nlp: {trim: true, group: 50}
  tune:
    metric: val_acc
    regex: 'epoch (?P<at>\\d+) acc=(?P<metric>[0-9.]+)'
    goal: maximize
    space: {LEARNING_RATE: {log: [1e-5, 1e-1]}, DROPOUT: [0, 0.5], LAYERS: [1, 4], OPT: [sgd, adam]}
    resource: {name: epoch, max: 50}
    trials: 200
    parallel: auto
    start_from: [bert-small]
"""

SKYPILOT = """\
name: train
resources:
  infra: gcp/us-central1
  accelerators: a100-80gb:8
  cpus: 96
  memory: 680GB+
  use_spot: true
  disk_size: 1TB
  disk_tier: best
  ports: [8080, 8081-8090]
  autostop: {idle_minutes: 10, down: true}
envs:
  MODEL: 13b
  WANDB_API_KEY:
secrets:
  HF_TOKEN: hf_abcdef
file_mounts:
  /data: s3://bucket
config: {kubernetes: {provision_timeout: 600}}
setup: |
  pip install torch
run: |
  torchrun train.py --model $MODEL
"""


def _tuned(rest: str, goal: str = "maximize") -> str:
    study = f"metric: val_acc, goal: {goal}, resource: {{name: epoch, max: 50}}, {rest}"
    return f"run: x\nbroker: {{tune: {{{study}}}}}"


# text -> what the message must say
REFUSED = {
    "name: x": "run: is missing",
    "run: ' '": "run: is missing",
    "run: [a, b]": "run: must be a single value, not a list",
    "run: x\nname: a b": "name: 'a b' is not a job name",
    "run: x\nname: ../../etc": "is not a job name",
    "run: x\nname: \u202eevil": "is not a job name",
    "run: x\nbroker: {nlp: {group: 1}}": "nlp.group: '1' makes no batches of like lengths",
    "run: x\nbroker: {nlp: {group: 1001}}": "nlp.group: '1001' is not between 1",
    "run: x\nbroker: {nlp: {trim: maybe}}": "nlp.trim: 'maybe' is neither true nor false",
    "run: x\nbroker: {nlp: {trimm: true}}": "did you mean 'trim'?",
    "run: x\nbroker: {nlp: true}": "nlp: must be",
    "run: x\nnum_nodes: 0": "num_nodes: '0' is not between 1",
    "run: x\nnum_nodes: 1e3": "num_nodes: '1e3' is not a whole number",
    "run: x\nresource: {accelerators: A100}": "did you mean 'resources'?",
    "run: x\nbrokers: {budget: 5}": "did you mean 'broker'?",
    "{apiVersion: batch/v1, resources: {}, spec: {}}": "apiVersion: unknown key 'apiVersion'",
    "run: x\nautostop: {down: true}": "write it under `resources:`",
    "run: x\nworkdir: {uri: 'https://a/b'}": "did you mean 'url'?",
    "run: x\nworkdir: {ref: main}": "workdir.url: is missing",
    "run: x\nfile_mounts: {/d: {sorce: 's3://b'}}": "file_mounts./d.sorce: unknown key 'sorce'",
    "run: x\nfile_mounts: {/d: {name: b, mode: MOUNTED}}": "/d.mode: 'MOUNTED' is not a mode",
    "run: x\nfile_mounts: {/d: {name: b, store: s4}}": "/d.store: 's4' is not a store",
    "run: x\nservice: {replica: 3}": "service.replica: unknown key 'replica'",
    "run: x\nservice: {replica_policy: {min_replica: 3}}": "did you mean 'min_replicas'?",
    "run: x\nservice: {readiness_probe: {paths: /}}": "did you mean 'path'?",
    "run: x\npool: {worker: 3}": "did you mean 'workers'?",
    "run: x\nresources: {job_recovery: {strategi: x}}": "did you mean 'strategy'?",
    "run: x\nresources: {autostop: {idle: 5}}": "resources.autostop.idle: unknown key 'idle'",
    "run: x\nmanaged_secrets: HF_TOKEN": "managed_secrets: must be a list of names",
    "run: x\nsecrets: ['secrets:me/HF']": "'me/HF' is not the name of an environment variable",
    "run: x\nfile_mounts: [a]": "file_mounts: must be a mapping, not a list",
    'run: x\nworkdir: "a\\nb"': "workdir: holds control characters",
    "run: x\nenvs: [A]": "envs: must be a mapping, not a list",
    "run: x\nenvs: {A: [1]}": "envs.A: must be a single value",
    "run: x\nenvs: {A B: 1}": "is not the name of an environment variable",
    "run: x\nenvs: {LD-X=1: 1}": "is not the name of an environment variable",
    "run: x\nsecrets: [HF_TOKEN]": "secrets: must be a mapping of names, without values",
    "run: x\nresources: [a]": "resources: must be a mapping",
    "run: x\nresources: {accelerators: H1000:8}": "did you mean H100?",
    "run: x\nresources: {accelerators: 0GB+}": "unknown accelerator '0GB+'",
    "run: x\nresources: {accelerators: tpux-8}": "unknown accelerator 'tpux-8'",
    "run: x\nresources: {accelerators: 'L4:-1'}": "resources.accelerators: '-1' is not a number",
    "run: x\nresources: {accelerators: 'L4:0'}": "the count must be from above 0",
    "run: x\nresources: {accelerators: 'L4:'}": "resources.accelerators: '' is not a number",
    "run: x\nresources: {accelerators: []}": "names no accelerator",
    "run: x\nresources: {accelerators: [[L4]]}": "each entry must be a name",
    "run: x\nresources: {cpus: 4-8}": "resources.cpus: '4-8' is not an amount",
    "run: x\nresources: {cpus: .inf}": "resources.cpus: '.inf' is not an amount",
    "run: x\nresources: {memory: -1}": "resources.memory: '-1' is not an amount",
    "run: x\nresources: {memory: 0}": "must be more than zero",
    "run: x\nresources: {disk_size: -100}": "resources.disk_size: '-100' is not a whole number",
    "run: x\nresources: {disk_size: .nan}": "resources.disk_size",
    "run: x\nresources: {disk_size: 1KB}": "resources.disk_size: '0' is not between 1",
    "run: x\nresources: {use_spot: maybe}": "resources.use_spot: 'maybe' is neither true nor false",
    "run: x\nresources: {infra: a/b/c/d}": "resources.infra: 'a/b/c/d' is not a place",
    "run: x\nresources: {infra: aws, region: r}": "infra and region exclude each other",
    "run: x\nresources: {region: '../x'}": "resources.region: '../x' is not a name",
    "run: x\nresources: {instance_type: 'a;rm -rf'}": "resources.instance_type",
    "run: x\nresources: {image_id: '$(id)'}": "is not the name of an image",
    "run: x\nresources: {region: us-west-2, image_id: {us-east-1: ami-1}}": "no image for the",
    "run: x\nresources: {infra: gcp, image_id: ami-1}": "'ami-1' is an image of aws, not of gcp",
    "run: x\nresources: {infra: aws/us-west-2/us-east-1a}": "not in the region 'us-west-2'",
    "run: x\nresources: {zone: '1'}": "resources.zone: the zone '1' tells no region",
    "run: x\nresources: {local_disk: 'nvme:1000+'}": "which machines have disks of their own",
    "run: x\nresources: {max_hourly_cost: 1 EUR}": "resources.max_hourly_cost: '1 EUR' is not in",
    "run: x\nresources: {any_of: []}": "must be a list of alternatives",
    "run: x\nresources: {any_of: {cpus: 4}}": "must be a list of alternatives",
    "run: x\nresources: {any_of: [4]}": "resources.any_of[0]: must be a mapping",
    "run: x\nresources: {any_of: [{any_of: [{cpus: 4}]}]}": "alternatives cannot hold",
    "run: x\nresources: {any_of: [{cpus: 4}], ordered: [{cpus: 4}]}": "exclude each other",
    'run: "x \\0 y"': "control character U+0000",
    "run: x\nbroker: 6h": "broker: must be a mapping, not a single value",
    "run: x\nbroker: {budgett: 5}": "did you mean 'budget'?",
    "run: x\nbroker: {Deadline: 6h}": "did you mean 'deadline'?",
    "run: x\nbroker: {xyz: 5}": "known: deadline, confidence, budget",
    "run: x\nbroker: {deadline: 90:00}": "broker.deadline: '90:00' is not a duration",
    "run: x\nbroker: {deadline: 2026-11-30T18:00}": "broker.deadline: '2026-11-30T18:00' has no",
    "run: x\nbroker: {budget: 25 EUR}": "broker.budget: '25 EUR' is not in US dollars",
    "run: x\nbroker: {budget: .inf}": "broker.budget: '.inf' is not an amount",
    "run: x\nbroker: {confidence: 90}": "write 0.9 for 90 %",
    "run: x\nbroker: {work: 5}": "broker.work: must be a mapping",
    "run: x\nbroker: {work: {step: 5}}": "did you mean 'steps'?",
    "run: x\nbroker: {work: {epochs: 5}}": "must be steps, or epochs and steps_per_epoch",
    "run: x\nbroker: {work: {steps: 5, epochs: 5}}": "must be steps, or epochs",
    "run: x\nbroker: {work: {}}": "must be steps, or epochs",
    "run: x\nbroker: {work: {hours: 3}}": "broker.work.hours: goes with on",
    "run: x\nbroker: {work: {steps: 5, on: g5.xlarge}}": "broker.work.on: goes with hours",
    "run: x\nbroker: {work: {hours: 0, on: g5.xlarge}}": "work.hours: must be more than zero",
    "run: x\nbroker: {work: {hours: 99999, on: a}}": "more than ten years",
    "run: x\nbroker: {work: {hours: 3, on: 'a b'}}": "is not the name of a type of machine",
    "run: x\nbroker: {work: {steps: 1e3}}": "broker.work.steps: '1e3' is not a whole number",
    "run: x\nbroker: {checkpoint: {path: ckpt}}": "needs both path and every",
    "run: x\nbroker: {checkpoint: {path: ../c, every: 5m}}": "not a path inside the work directory",
    "run: x\nbroker: {checkpoint: {path: /c, every: 5m}}": "not a path inside the work directory",
    "run: x\nbroker: {outputs: [model, ../c]}": "'../c' is not a path inside the work directory",
    "run: x\nbroker: {outputs: [/c]}": "broker.outputs: '/c' is not a path inside the",
    "run: x\nbroker: {outputs: ['']}": "broker.outputs: '' is not a path inside",
    "run: x\nbroker: {outputs: []}": "must be a list of 1 to 100 paths or patterns",
    "run: x\nbroker: {outputs: model.bin}": "must be a list of 1 to 100 paths or patterns",
    "run: x\nbroker: {outputs: [{path: c}]}": "must be a list of 1 to 100 paths or patterns",
    "run: x\nbroker: {profile: {max_costs: 5}}": "did you mean 'max_cost'?",
    "run: x\nbroker: {data: {input: 5}}": "did you mean 'input_gb'?",
    "run: x\nbroker: {data: {input_gb: -5}}": "broker.data.input_gb: '-5' is not a number",
    "run: x\nbroker: {data: {at: aws/a/b}}": "broker.data.at: 'aws/a/b' is not a place",
    "run: x\nbroker: {objective: speed}": "write cost, time, carbon",
    "run: x\nbroker: {objective: carbn}": "did you mean carbon?",
    "run: x\nbroker: {objective: {}}": "needs a price of carbon",
    "run: x\nbroker: {spot: {policy: greed}}": "did you mean greedy?",
    "run: x\nbroker: {spot: {policy: on-demand}}": "broker.spot.policy: unknown spot policy",
    "run: x\nbroker: {spot: greedy}": "broker.spot: must be",
    "run: x\nbroker: {spot: {polcy: greedy}}": "did you mean 'policy'?",
    "run: x\nbroker: {runs_per_month: 0}": "broker.runs_per_month: '0' is not between",
    "run: x\nbroker: {queue: 3}": "broker.queue: must be a mapping",
    "run: x\nbroker: {queue: {team: ''}}": "is not a team's name",
    "run: x\nbroker: {queue: {value_of_time: 3 EUR/h}}": "is not in US dollars",
    "run: x\nbroker: {queue: {value_of_time: .inf}}": "broker.queue.value_of_time",
    _tuned("space: {LR: [0, 1]}", goal="maximise"): "broker.tune.goal: unknown goal 'maximise'",
    _tuned("regex: acc, space: {LR: [0, 1]}"): "broker.tune.regex: has no group for the metric",
    _tuned("regex: '(?P<at>x)', space: {LR: [0, 1]}"): "regex: has no group for the metric",
    _tuned("regex: '(a', space: {LR: [0, 1]}"): "broker.tune.regex: is not a regular expression",
    _tuned("regex: 'a=(.)', space: {LR: [0, 1]}").replace(
        "broker: {", "broker: {checkpoint: {path: c, every: 5m}, "
    ): "broker.tune.regex: names no step, which a job with a checkpoint must",
    _tuned("space: {}"): "broker.tune.space: names no variable",
    _tuned("trials: 5"): "broker.tune.space: names no variable",
    _tuned("space: {LR: []}"): "broker.tune.space.LR: must be a list of values",
    _tuned("space: {LR: 0.1}"): "broker.tune.space.LR: must be a list of values",
    _tuned("space: {LR: [[1]]}"): "broker.tune.space.LR: must be a list of values",
    _tuned("space: {LR: [0.5, 0]}"): "broker.tune.space.LR: 0.5 is not below 0",
    _tuned("space: {LR: [1, 1]}"): "broker.tune.space.LR: 1 is not below 1",
    _tuned("space: {LR: [0, 1e999]}"): "broker.tune.space.LR: 0 is not below 1e999",
    _tuned("space: {LR: {log: [0, 1]}}"): "space.LR.log: a logarithmic range begins above zero",
    _tuned("space: {LR: {log: [1, 2, 3]}}"): "space.LR.log: must be two numbers",
    _tuned("space: {LR: {log: [a, b]}}"): "space.LR.log: must be two numbers",
    _tuned("space: {LR: {logs: [1, 2]}}"): "did you mean 'log'?",
    _tuned("space: {LR: {}}"): "broker.tune.space.LR: must have either log or values",
    _tuned("space: {OPT: [a, a]}"): "broker.tune.space.OPT: 'a' is there twice",
    _tuned("space: {A-B: [0, 1]}"): "'A-B' is not the name of an environment variable",
    _tuned("space: {MLBROKER_TOKEN: [0, 1]}"): "names that begin with MLBROKER_ are",
    _tuned("space: {LR: [0, 1]}, trials: 0"): "broker.tune.trials: '0' is not between 1",
    _tuned("space: {LR: [0, 1]}, parallel: many"): "broker.tune.parallel: 'many' is not a whole",
    _tuned("space: {LR: [0, 1]}, start_from: []"): "must be a list of 1 to 20 studies",
    _tuned("space: {LR: [0, 1]}, budgets: 3"): "broker.tune.budgets: unknown key",
    "run: x\nbroker: {tune: {metric: a, goal: minimize, space: {LR: [0, 1]}}}": (
        "broker.tune.resource: is missing"
    ),
    "run: x\nenvs: {LR: 1}\n"
    "broker: {tune: {metric: a, goal: minimize, space: {LR: [0, 1]}, resource: {max: 3}}}": (
        "broker.tune.space.LR: is among the envs too"
    ),
    "run: x\nsecrets: {LR: null}\n"
    "broker: {tune: {metric: a, goal: minimize, space: {LR: [0, 1]}, resource: {max: 3}}}": (
        "broker.tune.space.LR: is among the secrets too"
    ),
    "run: x\nbroker: {progress: 'step ('}": "broker.progress: is not a regular expression",
    "run: x\nbroker: {progress: 'step'}": "has no group for the step number",
    "run: x\nbroker: {progress: '(a+)+'}": "can take for ever",
}
