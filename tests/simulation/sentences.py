"""The promises by name, each with its sentence from `docs/explanation/promises.md`; `promises.py` checks them."""

PROMISES = {
    "no_request_lost": "No request fails by what Celadon does.",
    "serving_floor": "As many nodes serve as served when the rollout opened, at most the candidate's slots.",
    "no_weight_before_probed": "No node gets traffic before its replica was probed and warmed up.",
    "gates": "No traffic moves past a failed test, a gate that waits for a person, or a pause.",
    "hooks": "The operator's hooks run at their moments, and a person says what became of one that was interrupted.",
    "no_signal": "No replica is signalled while it can still receive requests.",
    "commit_point": "Before the commit point stable is not stopped; after it nothing removes the candidate "
    "before stable serves.",
    "confirmed": "The commit point is written down only when all traffic really is on the candidate.",
    "same_end": "Crash anywhere and run again: the same end, and nothing is left over.",
    "truth": "What is said at the end is what serves.",
    "balancer_overrules": "The balancer overrules the journal: what others changed is seen and put right.",
    "one_driver": "Of two drivers one acts, and the late one is refused or healed.",
    "two_releases": "At most two releases serve.",
    "deadlines": "Every wait has a deadline and a result: once faults stop, every rollout ends.",
    "going_back": "Going back is possible until stable is signalled, asks nothing and passes no gate.",
    "recovery": "While stable could serve, users are not left with a dead or failing candidate.",
    "missing_data": "Missing data is never success: what cannot be counted is drained to the deadline.",
    "good_release": "A good release is deployed when nothing goes wrong.",
    "testers": "No user is moved before the balancer called each candidate UP on the test port; nobody is left there.",
    "kept": "What a rollback needs is not removed; what none needs is.",
    "few_calls": "A deploy's calls to the API do not grow with how long it waits.",
    "secrets": "Secrets are written down nowhere.",
    "terraform": "A rollout makes and removes no node: `terraform plan` shows no change.",
    "idempotent": "Running a finished deploy again changes nothing, and another one is refused while it is open.",
}
