"""Does federation help a chat model to foresee what people write? Each user of the conversations is a site.

    python benchmarks/language.py [--quick]

For every seed: the perplexity of each user's held-out turns under the base model, under the federated
adapter, and under the adapters that the users train alone with as many passes over their rows (the mean of
all users' adapters, and the user's own).
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean, stdev

from sealora.models.adapter import Tensors
from sealora.plan.loader import Plan, load
from sealora.protocol.keystream import derive_key
from sealora.server.loop import Coordinator
from sealora.server.store import CheckpointStore
from sealora.simulation.federation import Federation, assemble
from sealora.simulation.fleet import InProcessFleet
from sealora.strategies.strategy import Start

PLAN = Path(__file__).parents[1] / "examples" / "chat" / "plan.toml"
Perplexities = dict[str, float]
"""By user."""


def federated(federation: Federation, folder: Path) -> Tensors:
    adapter, _ = Coordinator(
        plan=federation.plan,
        plan_hash=federation.contract.plan_hash,
        task=federation.task,
        strategy=federation.contract.strategy,
        initial=federation.initial,
        fleet=InProcessFleet({name: site.handle for name, site in federation.sites.items()}),
        store=CheckpointStore(folder / "checkpoints"),
        sessions=federation.sessions,
    ).run()
    return adapter.tensors


def alone(federation: Federation, name: str) -> Tensors:
    trainer, plan = federation.trainer, federation.plan
    names = [spec.name for spec in trainer.layout.of_kind("shared")]
    tensors: Tensors = federation.initial.tensors
    for number in range(1, plan.rounds.count + 1):
        seed = derive_key("sealora/v1/comparison", plan.seed, name, number)
        rows = federation.sites[name].data.train
        tensors = trainer.train(Start(tensors), names, rows, number, seed).tensors
    return tensors


def perplexities(federation: Federation, tensors: Tensors) -> Perplexities:
    found = {}
    for name, site in federation.sites.items():
        sums = federation.trainer.evaluate(tensors, site.data.test)
        found[name] = federation.task.metrics({part: n.astype(float) for part, n in sums.items()})[
            "perplexity"
        ]
    return found


def measure(plan: Plan) -> dict[str, Perplexities]:
    """Perplexities by model: base, federated, alone (the mean of all users' adapters) and own."""
    with tempfile.TemporaryDirectory(prefix="sealora-benchmark-") as state:
        federation = assemble(plan, Path(state))
        each = {name: perplexities(federation, alone(federation, name)) for name in federation.sites}
        return {
            "base": perplexities(federation, federation.initial.tensors),
            "federated": perplexities(federation, federated(federation, Path(state))),
            "alone": {name: fmean(found[name] for found in each.values()) for name in each},
            "own": {name: each[name][name] for name in each},
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one seed, few rows, one round")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    plan = load(PLAN)
    if chosen.quick:
        plan = plan.replace(data={"rows": 24, "test_fraction": 0.3}, rounds={"count": 1})
        plan = plan.replace(simulation={"minimum_rows": 2})
    found = []
    print(f"{'seed':>4}  {'user':<14} {'base':>8} {'alone':>8} {'own':>8} {'federated':>10}")
    for seed in range(1, 2 if chosen.quick else chosen.seeds + 1):
        found.append(measure(plan.replace(seed=seed)))
        for user in found[-1]["base"]:
            base, mean, own, ours = (found[-1][k][user] for k in ("base", "alone", "own", "federated"))
            print(f"{seed:>4}  {user:<14} {base:>8.1f} {mean:>8.1f} {own:>8.1f} {ours:>10.1f}", flush=True)
    print(json.dumps({"benchmark": "language", "figures": figures(found)}))


def figures(found: list[dict[str, Perplexities]]) -> dict[str, float]:
    """Means over users, then over seeds, and how often the federated adapter is the better one."""
    means = {model: [fmean(one[model].values()) for one in found] for model in found[0]}
    table = {f"perplexity_{model}": round(fmean(values), 2) for model, values in means.items()}
    for other in ("base", "alone", "own"):
        gains = [m - f for m, f in zip(means[other], means["federated"], strict=True)]
        better = [one["federated"][user] < one[other][user] for one in found for user in one["base"]]
        table |= {f"gain_over_{other}": round(fmean(gains), 2), f"better_than_{other}": fmean(better)}
        if len(gains) > 1:
            table[f"gain_over_{other}_deviation"] = round(stdev(gains), 2)
    return table


if __name__ == "__main__":
    main()
