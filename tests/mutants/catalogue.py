"""The mutants: engines with one promise broken, each with the drill that must notice.

A mutant is a module `tests/mutants/<name>.py` that breaks one thing and starts the engine. `run.py` puts each on
trial; one that its drill does not catch means that the drill shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """`caught_by`: the checks of `drill` any of which may catch it. `fast` ones run in CI.

    `transport` is what the drill's clients and workers speak.
    """

    name: str
    drill: str
    caught_by: tuple[str, ...]
    breaks: str
    fast: bool = False
    transport: str = "rest"


MUTANTS: tuple[Mutant, ...] = (
    Mutant("no_fence", "L2", ("FN", "LX"), "any worker may answer a job", fast=True),
    Mutant("grpc_no_fence", "L2", ("FN", "LX"), "a completion over gRPC is not fenced", transport="both"),
    Mutant("name_is_token", "L3", ("FN", "LX"), "a holder is recognized by its name alone"),
    Mutant("no_sweep", "L1", ("LV", "NL"), "expired leases are never taken back", fast=True),
    Mutant("sweep_by_app_clock", "L1", ("LX",), "a replica's clock decides when a lease ends"),
    Mutant("delivered_twice", "L1", ("DB",), "some jobs are handed out twice under one lease"),
    Mutant("ack_before_commit", "L1", ("NL",), "some starts are answered but never written"),
    Mutant("double_start", "L1", ("NP",), "some starts make two instances"),
    Mutant("select_without_for_update", "L4", ("S1x",), "decisions are based on unlocked reads", fast=True),
    Mutant("internal_errors", "L4", ("AV",), "one completion in forty is answered 500"),
    Mutant("claim_without_lock", "smoke", ("LX",), "two nodes lease the same jobs"),
    Mutant(
        "lease_of_this_node",
        "small-cluster",
        ("AV", "LV"),
        "a node knows only the leases that it gave",
        fast=True,
    ),
    Mutant("boot_locks_jobs", "L5", ("RT",), "a booting replica locks the whole job table"),
    Mutant("lease_in_memory", "L9", ("AV", "LV"), "a node takes answers only to jobs that it handed out"),
    Mutant("sweeps_leases_seldom", "L7", ("LV",), "only every fifth look for expired leases is made"),
    Mutant("no_attempt_cap", "L6", ("DB", "LV"), "a job that kills its workers is handed out for ever"),
    Mutant("outbox_in_polling", "M4", ("MP",), "outbox rows are written in polling mode", fast=True),
    Mutant("dispatch_metric_in_polling", "M4", ("MP",), "the broker's backlog is a metric in polling mode"),
    Mutant("dials_in_polling", "M4", ("MP",), "a socket connects to something other than the database"),
    Mutant(
        "lane_keeps_dead_connection",
        "D1",
        ("RT", "LV"),
        "a lane never recovers from a lost database connection",
    ),
    Mutant("one_host_of_the_dsn", "D2-patroni", ("RT", "LV"), "only the first host of a DSN is ever tried"),
    Mutant("disk_full_is_a_defect", "D5", ("AV",), "a full disk is answered 500"),
    Mutant("pooler_refusal_is_a_defect", "D6", ("AV",), "a pooler's refusal is answered 500"),
    Mutant(
        "bus_opened_once", "W1", ("PK",), "a node that has lost the wake bus never hears the others again"
    ),
    Mutant("unready_without_bus", "W1", ("PK",), "a node is not ready while the wake bus is away"),
    Mutant(
        "looks_only_when_told", "W2", ("PK",), "a waiting poll never looks where no hints come", fast=True
    ),
    Mutant("migration_waits_long", "D7", ("RT", "AV"), "a migration waits for a table until it has it"),
    Mutant(
        "acks_before_standby",
        "D2",
        ("FL", "NL"),
        "a commit is answered before the synchronous standby has it",
    ),
    Mutant("clears_after_outage", "D2-async", ("FL",), "what survived a failover is cleared afterwards"),
    Mutant("first_host_only", "D2-kafka", ("RT", "LV"), "of several hosts only the first is tried"),
    Mutant("reads_on_standby", "D3", ("RY",), "what a standby shows is taken for the truth"),
    Mutant(
        "takes_any_host", "D3-kafka", ("RT", "LV"), "of several hosts one that takes no writes may be used"
    ),
    Mutant("cached_reads", "D4", ("RY",), "a node shows instances as they were some seconds ago"),
    Mutant("ready_without_writes", "D4", ("PT",), "a node is ready while its database takes no writes"),
    Mutant("ready_before_migrated", "U6", ("PT",), "a node is ready before its schema is there", fast=True),
    Mutant("liveness_asks_database", "U6", ("PT",), "liveness fails while the database is away"),
    Mutant(
        "reads_columns_by_number",
        "U9",
        ("AV",),
        "a node cannot read jobs that have a column it does not know",
    ),
    Mutant(
        "overdue_timers_dropped", "U10", ("TP", "LV"), "a node that starts drops the timers that are overdue"
    ),
    Mutant("certificate_read_once", "U11", ("CR",), "the certificate is read at boot alone", fast=True),
    Mutant("grpc_keeps_certificate", "U11", ("CR",), "gRPC goes on with the certificate of the boot"),
    Mutant(
        "renewal_cuts_calls", "U11", ("AV",), "connections that began with the certificate before are cut"
    ),
    Mutant("tells_the_password", "T6", ("BC",), "a boot that cannot connect shows its password"),
    Mutant("timer_mark_then_dispatch", "X1", ("TP", "LV", "S1x"), "a timer is marked before it takes effect"),
    Mutant(
        "chain_fire_and_forget", "X3", ("S1x",), "a chained workflow starts outside its parent's transaction"
    ),
    Mutant(
        "prunes_running", "D8", ("RN", "NL"), "retention asks when instances began, not whether they ended"
    ),
    Mutant("prune_forgets_audit", "D8", ("RN",), "audit rows of removed instances stay"),
    Mutant("eldest_scheduler_only", "X4", ("TP",), "of several schedulers only the eldest does anything"),
    Mutant(
        "fires_what_another_fired",
        "X5",
        ("S1x",),
        "a scheduler fires a timer that another has fired meanwhile",
    ),
    Mutant("retention_unscheduled", "X6", ("RN",), "a node that only schedules removes nothing"),
    Mutant("claim_sorts_backlog", "P4", ("CC",), "each poll sorts all waiting jobs"),
    Mutant("nested_acquire", "P6", ("LV",), "a join takes a second connection in its transaction"),
    Mutant("pool_beyond_limit", "P6", ("CB",), "a pool opens more connections than DB_MAX_CONNS"),
    Mutant(
        "notify_only_no_fallback_poll", "P6", ("LV",), "a waiting poll never looks without a notification"
    ),
    Mutant(
        "delete_outbox_before_ack",
        "smoke-kafka",
        ("OC",),
        "rows are removed before they are published",
        fast=True,
    ),
    Mutant("relay_without_epoch", "F6", ("LD",), "a leader that was replaced continues"),
    Mutant(
        "standby_waits_for_the_dead",
        "F9",
        ("LD",),
        "a standby leads when the others are silent, not when nobody leads",
    ),
    Mutant("slow_standby", "F1", ("LD",), "a standby looks for the lead once a minute"),
    Mutant(
        "order_by_created_at", "O1", ("PO",), "rows are published in the order in which transactions began"
    ),
    Mutant(
        "first_error_fails_batch",
        "T5",
        ("OC", "RT"),
        "one record that fails makes its whole batch fail",
        fast=True,
    ),
    Mutant(
        "swallow_broker_error_at_boot",
        "T3",
        ("BC",),
        "a broker that is unreachable at boot is ignored",
        fast=True,
    ),
    Mutant("boot_fallback_to_polling", "T3", ("BC",), "without its broker a node falls back to polling"),
    Mutant("topics_unchecked_at_boot", "T2", ("BC",), "a node starts without its topics"),
    Mutant("ignores_transport", "T4", ("PW",), "it uses plaintext whatever the settings say"),
    Mutant("trusts_any_name", "T4", ("BC",), "a broker's certificate may contain any name"),
    Mutant("no_redelivery", "K6", ("LV", "NL"), "a job lost by a worker's early commit is never sent again"),
    Mutant(
        "dedup_id_of_the_job", "K3", ("LV", "NL"), "a redelivery repeats the dedup id, so workers drop it"
    ),
    Mutant("redelivers_at_once", "K3", ("OC",), "a job is sent again while its worker is busy with it"),
    Mutant("publish_in_transaction", "K5", ("BO",), "a transaction stays open while the broker is down"),
    Mutant("budget_draws_nothing", "N1", ("MEM",), "the memory budget gives to everybody"),
    Mutant("keeps_bodies", "N1", ("MEM",), "what was read of a body stays in memory"),
    Mutant(
        "batches_by_number", "N1", ("LAT",), "batches end at a number of commands, however much work they are"
    ),
    Mutant("polls_keep_their_places", "N2", ("PT", "AV"), "polls may keep all connections of a node"),
    Mutant("polls_keep_their_streams", "N2", ("PT",), "polls may have all calls of a gRPC connection"),
    Mutant("slow_bodies_keep", "N3", ("AV",), "whoever holds room for a body keeps it, however slow"),
    Mutant("lists_unbounded", "N4", ("MEM", "LAT"), "lists are of as many bytes as their rows have"),
    Mutant(
        "log_writes_block", "N5", ("PT", "AV"), "a line of the log is written by whoever has it", fast=True
    ),
    Mutant("waits_for_its_log", "N5-stop", ("AV",), "the end of a process waits until its log is written"),
    Mutant("open_steps_unbounded", "N6", ("NL", "LV"), "any number of an instance's steps may wait"),
    Mutant("leaks_on_each_call", "N7", ("FLAT",), "a kilobyte of each call stays in memory"),
    Mutant(
        "ageless_connections", "U12", ("SPREAD",), "a gRPC connection is kept for as long as its client likes"
    ),
    Mutant("age_cuts_calls", "U12", ("AV",), "a gRPC connection that is old enough is cut with its calls"),
    Mutant("no_adoption", "M2", ("LV", "NL"), "jobs that wait when the mode changes are stranded"),
)
