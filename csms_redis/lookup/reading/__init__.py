"""How more is learned: reads of Redis, and what proves that they still speak for the truth.

A read, with all who wait for it, is a `flight`; `flights` begins and ends them, `dispatch` sends
them, and `deadlines` tells who has waited long enough. They are sent through `sources`: the
`read_connection` to one master, and what was learned through it. `source_events` keeps that true.

A `link` keeps such a connection up: it makes the `handshake`, renews the lease with a `probe` each
second, and has `watches` for what no invalidation tells (`lifetimes` of records, `data_set_watch`).
The `supervisor` keeps one link to each master.
"""
